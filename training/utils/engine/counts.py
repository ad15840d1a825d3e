"""What became of the steps of an engine, and what is said of those that moved nothing."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..data.tree import Batch
from ..process import dist
from ..process.told import Told

log = logging.getLogger(__name__)
NAMED = 32  # records that a message names


class NonFiniteLoss(Told):
    """Loss or gradient of an optimizer step are not finite, once too often. The weights have not moved."""

    status = 2


@dataclass
class Counts:
    """What became of the optimizer steps so far."""

    steps: int = 0
    bad_steps: int = 0  # that moved nothing, because loss or gradient were not finite
    bad_in_a_row: int = 0
    overflows: int = 0  # that fp16's loss scaler gave up for a smaller scale, as it should
    empty_steps: int = 0  # that moved nothing, because there was nothing to learn from

    @property
    def shown(self) -> dict[str, int]:
        """How many steps moved nothing, by reason; only what has happened."""
        names = ("bad_steps", "overflows", "empty_steps")
        counts = {name: getattr(self, name) for name in names}
        return {name: count for name, count in counts.items() if count}

    def pass_by(self, why: str) -> None:
        """Counts a step in which there is nothing to learn from, and says so of the first, second, fourth, ..."""
        self.empty_steps += 1
        if dist.is_main() and not self.empty_steps & (self.empty_steps - 1):
            log.warning("%s; the weights stay as they are (such steps so far: %d)", why, self.empty_steps)

    def pass_over(
        self, loss: float, losses: Sequence[Tensor], batches: Sequence[Batch], max_in_a_row: int
    ) -> None:
        """Counts a bad step, and says of which records it was: those whose own loss is not finite, or else all. All
        processes must call it.

        Args:
            loss: of the whole step, over all processes.
            losses: of this process's micro-batches, which came from `batches`.

        Raises:
            NonFiniteLoss: more than `max_in_a_row` moved nothing.
        """
        self.bad_steps += 1
        self.bad_in_a_row += 1
        known = not math.isfinite(loss)  # then some of the micro-batches are to blame, and others are not
        blamed = [batch for batch, own in zip(batches, losses, strict=True) if not (known and own.isfinite())]
        everyone = dist.gather_objects([name for batch in blamed for name in batch.ids])
        ids = list(dict.fromkeys(name for names in everyone for name in names))
        names = ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
        found = f"the loss of optimizer step {self.steps} is {loss}"
        if not known:
            found = f"the gradient of optimizer step {self.steps} is not finite"
        message = f"{found}; its records: {names}"
        if self.bad_in_a_row > max_in_a_row:
            raise NonFiniteLoss(
                f"{message}; the weights have not moved and nothing was saved; look at these records, lower the "
                "learning rate, or pass over such steps with --max_bad_steps"
            )
        log.warning("%s; passed over, %d in a row", message, self.bad_in_a_row)
