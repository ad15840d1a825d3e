"""How far a noisy figure has come: medians of both ends, and the noise between neighbouring steps.

The noise is that of differences between neighbours, so a slow drift counts as movement and not as noise. Medians and
their absolute deviations are not led astray by a few wild steps.
"""

from dataclasses import dataclass

import numpy as np

from eval.doctor.limits import END_SHARE, LEAST_STEPS
from eval.doctor.run import Run, Series

TO_DEVIATION = 1.4826  # median absolute deviation -> standard deviation of normal noise
OF_MEDIAN = np.sqrt(np.pi / 2)  # standard error of a median over that of a mean, for normal noise


@dataclass(frozen=True)
class Change:
    name: str
    start: float  # median of the first steps
    end: float  # of the last
    error: float  # standard error of the difference of both
    steps: tuple[int, int]  # the last of the first, and the first of the last

    @property
    def by(self) -> float:
        return self.end - self.start

    @property
    def z(self) -> float:
        """How many standard errors it has come; 0 where it has not moved at all."""
        return self.by / max(self.error, 1e-12) if self.by else 0.0

    def __str__(self) -> str:
        first, last = self.steps
        apart = f"{abs(self.z):.1f}" if abs(self.z) < 100 else "over 100"
        return (
            f"{self.name}: {self.start:.4g} up to step {first}, {self.end:.4g} from step {last}, "
            f"{apart} standard errors apart"
        )


def noise(values: np.ndarray) -> float:
    """Standard deviation of what a step adds by chance. Where most steps have one value, as counts do, the median
    deviation is 0, and the plain one counts."""
    differences = np.diff(values)
    robust = TO_DEVIATION * np.median(np.abs(differences - np.median(differences)))
    return float((robust or differences.std()) / np.sqrt(2))


def change(series: Series) -> Change:
    """From the first fifth of the steps to the last."""
    count = max(3, int(END_SHARE * len(series)))
    first, last = series.values[:count], series.values[-count:]
    error = OF_MEDIAN * noise(series.values) * np.sqrt(2 / count)
    steps = int(series.steps[count - 1]), int(series.steps[-count])
    return Change(series.name, float(np.median(first)), float(np.median(last)), float(error), steps)


def change_of(run: Run, name: str) -> Change:
    """
    Raises:
        NotJudged: too few steps have the figure.
    """
    return change(run.series(name, LEAST_STEPS))
