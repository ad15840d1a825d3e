"""What follows each step of a training run: evaluation, checkpoint, model, stop. All processes decide alike."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from ..config.train_config import TrainConfig
from ..data.sampler import StepSampler
from ..process import dist, stop
from ..process.progress import progress

Item = TypeVar("Item")
STARTED_S = time.monotonic()  # this process, nearly
REASONS = [*(number.name for number in stop.SIGNALS), "--max_hours"]


@dataclass(frozen=True)
class Due:
    evaluation: bool
    checkpoint: bool
    model: str  # name of the model folder that ends an epoch, or nothing


class Pace:
    """The steps of a run, each with what is due after it."""

    def __init__(self, config: TrainConfig, sampler: StepSampler) -> None:
        self.config = config
        self.sampler = sampler
        self.stopped_by = ""  # why the run stops before its last step
        self.saved_s = time.monotonic()

    def steps(self, items: Iterable[Item]) -> Iterator[tuple[int, Item]]:
        """The items of the steps from `start_step` on with their numbers, until the run is to stop."""
        with stop.deferred(), progress.expected(self.config.max_step_minutes * 60):
            for step, item in enumerate(items, self.sampler.start_step + 1):
                progress.mark()
                yield step, item
                if self.stopped_by:
                    return

    def after(self, step: int) -> Due:
        """All processes must call it, once, when a step has moved the weights.

        A run that is to stop writes a checkpoint first, and leaves out an evaluation: time may be short.
        """
        progress.mark()
        is_last = step == self.sampler.num_steps
        ends_epoch = is_last or step % self.sampler.steps_per_epoch == 0
        is_old, reasons = self._asked()
        if not is_last:
            self.stopped_by = " and ".join(reasons)
        checkpoint = not is_last and bool(
            ends_epoch or step % self.config.save_step == 0 or is_old or self.stopped_by
        )
        if checkpoint:
            self.saved_s = time.monotonic()
        return Due(
            evaluation=not self.stopped_by and (is_last or step % self.config.eval_step == 0),
            checkpoint=checkpoint,
            model=f"epoch-{(step - 1) // self.sampler.steps_per_epoch}" if ends_epoch else "",
        )

    def _asked(self) -> tuple[bool, list[str]]:
        """Whether a checkpoint is due by the clock, and what asks for a stop. A signal may have reached one process
        alone; the clock that counts is that of the main process."""
        now, config = time.monotonic(), self.config
        by_clock = [
            0 < config.save_minutes * 60 <= now - self.saved_s,
            0 < config.max_hours * 3600 <= now - STARTED_S,
        ]
        is_old, is_late = (dist.is_main() and due for due in by_clock)
        asks = [stop.requests.name == name for name in REASONS[:-1]]
        is_old, *asks = dist.sum_over_ranks(torch.tensor([is_old, *asks, is_late])).bool().tolist()
        return is_old, [name for name, asked in zip(REASONS, asks, strict=True) if asked]
