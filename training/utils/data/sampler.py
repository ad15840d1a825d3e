"""Which records make up each optimizer step, on each process."""

from collections.abc import Iterator
from math import ceil

import torch

from .. import dist


class StepSampler:
    """Record numbers of every micro-batch of this process, from optimizer step `start_step` to the last.

    The records of a step depend on the seed, the step's number and the global batch size only: not on how
    many processes share it. So the step's number is all that a resumed run has to know. An epoch visits each
    record once; its last step is filled up from the beginning of the same epoch's order.
    """

    def __init__(
        self,
        num_records: int,
        per_device: int,
        accumulation: int,
        num_steps: int,
        seed: int,
        start_step: int = 0,
    ) -> None:
        self.num_records = num_records
        self.per_device = per_device
        self.accumulation = accumulation
        self.num_steps = num_steps
        self.seed = seed
        self.start_step = start_step

    @property
    def global_batch(self) -> int:
        return self.per_device * self.accumulation * dist.world_size()

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.num_records, self.global_batch)

    def step_records(self, step: int) -> list[int]:
        """All record numbers of an optimizer step, over all processes."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = torch.randperm(self.num_records, generator=torch.Generator().manual_seed(self.seed + epoch))
        first = place * self.global_batch
        return [int(order[i % self.num_records]) for i in range(first, first + self.global_batch)]

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start_step, self.num_steps):
            records = self.step_records(step)
            for micro in range(self.accumulation):
                first = (micro * dist.world_size() + dist.rank()) * self.per_device
                yield records[first : first + self.per_device]

    def __len__(self) -> int:
        return (self.num_steps - self.start_step) * self.accumulation


def steps_per_epoch(num_records: int, global_batch: int) -> int:
    return ceil(num_records / global_batch)
