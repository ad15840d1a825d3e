"""Which records make up each optimizer step, on each process."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import ceil

import torch
from torch import Tensor

from ..process import dist
from .token_batches import TokenBatches

STEPS_AHEAD = 16  # of which the loader prepares what it has to know again when they come


class StepSampler:
    """Record numbers of every micro-batch of this process, from optimizer step `start_step` to the last.

    The records of a step depend on the seed, the step's number and the global batch size only: not on how
    many processes share it. So the step's number is all that a resumed run has to know. An epoch visits each
    record once; its last step is filled up from the beginning of the same epoch's order.

    With weights, an epoch visits each record of a source as often as its weight says: 2 is twice, 0.5 is one half of
    them, and the next epoch the other half.
    """

    def __init__(
        self,
        num_records: int,
        per_device: int,
        accumulation: int,
        num_steps: int,
        seed: int,
        start_step: int = 0,
        weighted: Sequence[tuple[Sequence[int], float]] = (),
        by_tokens: TokenBatches | None = None,
    ) -> None:
        """
        Args:
            weighted: the record numbers of each source, and its weight; none: all records once.
            by_tokens: cuts a step into micro-batches; none: they are of `per_device` records.
        """
        self.num_records = num_records
        self.per_device = per_device
        self.accumulation = accumulation
        self.num_steps = num_steps
        self.seed = seed
        self.start_step = start_step
        self.weighted = [(torch.as_tensor(numbers), weight) for numbers, weight in weighted]
        self.by_tokens = by_tokens
        self._order = lru_cache(maxsize=2)(self._order)  # a step may look at the epoch before it again
        self.micro_batches = lru_cache(maxsize=STEPS_AHEAD)(self.micro_batches)

    @property
    def global_batch(self) -> int:
        return self.per_device * self.accumulation * dist.world_size()

    @property
    def epoch_len(self) -> int:
        """Records that an epoch visits."""
        return epoch_len(self.num_records, [(len(numbers), weight) for numbers, weight in self.weighted])

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.epoch_len, self.global_batch)

    def step_records(self, step: int) -> list[int]:
        """All record numbers of an optimizer step, over all processes."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        first = place * self.global_batch
        return order[torch.arange(first, first + self.global_batch) % len(order)].tolist()

    def micro_batches(self, step: int) -> list[list[int]]:
        """Record numbers of each micro-batch of this process in an optimizer step."""
        records, processes, rank = self.step_records(step), dist.world_size(), dist.rank()
        if self.by_tokens:
            return self.by_tokens.shared_out(records, processes)[rank]
        firsts = ((micro * processes + rank) * self.per_device for micro in range(self.accumulation))
        return [records[first : first + self.per_device] for first in firsts]

    def _order(self, epoch: int) -> Tensor:
        """Record numbers in the order of an epoch."""
        generator = torch.Generator().manual_seed(self.seed + epoch)
        if not self.weighted:
            return torch.randperm(self.num_records, generator=generator)
        drawn, in_turn = [], torch.Generator().manual_seed(self.seed)
        for numbers, weight in self.weighted:
            whole, rest = divmod(round(weight * len(numbers)), len(numbers))
            turns = torch.randperm(len(numbers), generator=in_turn)  # the same in each epoch
            part = turns[(epoch * rest + torch.arange(rest)) % len(numbers)]
            drawn.append(torch.cat([numbers.repeat(whole), numbers[part]]))
        visited = torch.cat(drawn)
        return visited[torch.randperm(len(visited), generator=generator)]

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start_step, self.num_steps):
            yield from self.micro_batches(step)


def epoch_len(num_records: int, weighted: Sequence[tuple[int, float]]) -> int:
    """Records that an epoch visits: all once, or each source (its number of records, its weight) by its weight."""
    return sum(round(weight * number) for number, weight in weighted) if weighted else num_records


def steps_per_epoch(num_records: int, global_batch: int) -> int:
    return ceil(num_records / global_batch)
