"""What the steps of a training take: wall time, time of the processor, memory."""

import resource
import time
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Self

from scripts.measured import heard, say


@dataclass
class Steps:
    """The steps of one training. Their ends are marked; what lies before the first end is not measured."""

    losses: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)  # of all threads of the process
    peak_gb: float = 0.0  # largest resident memory of the process so far
    last: tuple[float, float] | None = None

    def mark(self) -> None:
        """An optimizer step has ended."""
        now = time.perf_counter(), time.process_time()
        if self.last:
            self.wall_s.append(now[0] - self.last[0])
            self.cpu_s.append(now[1] - self.last[1])
        self.last = now
        self.peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9

    def of_last_epoch(self, steps: int) -> Self:
        """Without those of earlier epochs, and the step that begins this one: a model is saved before it."""
        return type(self)(
            self.losses[-steps:], self.wall_s[1 - steps :], self.cpu_s[1 - steps :], self.peak_gb
        )

    @property
    def wall(self) -> float:
        """Seconds of a step, the median."""
        return median(self.wall_s)

    @property
    def cpu(self) -> float:
        return median(self.cpu_s)

    def print(self) -> None:
        say(asdict(self))

    @classmethod
    def read(cls, output: str) -> Self:
        """What `print` wrote."""
        (found,) = heard(output)
        return cls(**found)
