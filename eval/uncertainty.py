"""How far a figure may be off by the choice of questions: bootstrap intervals, and a paired test of two runs.

A figure is a function of sums over questions (`rates` of a benchmark). A bootstrap sample draws as many questions
with replacement (Efron 1979); the samples of one question stay together. The test exchanges the two runs' answers to
a random half of the questions, as if they came from one model (Fisher's randomisation test), and asks how often the
difference is as large as the one that was found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95

Total = Callable[[np.ndarray], np.ndarray]  # a value for each item [I] -> its sum in each resample [R]
Rates = Callable[[Sequence[dict], Total], Mapping[str, np.ndarray]]  # scored items -> figures [R]


@dataclass(frozen=True)
class Difference:
    change: float
    low: float
    high: float
    p: float
    n: int  # questions that both runs answered

    @property
    def is_told_apart(self) -> bool:
        return self.p < 1 - LEVEL


def share(total: Total, part: Sequence[float], whole: Sequence[float]) -> np.ndarray:
    """Percent of the whole, [R]; NaN where the whole is nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100 * total(np.asarray(part, float)) / total(np.asarray(whole, float))


def average(total: Total, values: Sequence[float]) -> np.ndarray:
    """The mean over items, [R]."""
    return share(total, values, np.ones(len(values))) / 100


def intervals(items: Sequence[dict], rates: Rates) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each figure. A figure that is nothing in most resamples has none."""
    units, num_units = _units(items)
    weights = _bootstrap(num_units)
    found = rates(items, _drawn(weights, units))
    return {name: _interval(values) for name, values in found.items() if np.isfinite(values).mean() > 0.5}


def compare(before: Sequence[dict], after: Sequence[dict], rates: Rates) -> dict[str, Difference]:
    """Each figure of a run against that of another, on the questions that both answered."""
    common = {item["id"] for item in before} & {item["id"] for item in after}
    order = {name: place for place, name in enumerate(sorted(common))}
    runs = [[item for item in items if item["id"] in common] for items in (before, after)]
    units = [np.array([order[item["id"]] for item in items], int) for items in runs]
    if not common:
        return {}
    observed = _difference(runs, units, rates, np.ones((1, len(common)), np.float32))
    drawn = _difference(runs, units, rates, _bootstrap(len(common)))
    exchanged = _exchanged(runs, units, len(common), rates)
    found = {}
    for name, (change,) in observed.items():
        if np.isfinite(change):
            low, high = _interval(drawn[name])
            extreme = np.sum(np.abs(exchanged[name]) >= abs(change) - 1e-6)
            found[name] = Difference(float(change), low, high, (1 + extreme) / (1 + RESAMPLES), len(common))
    return found


def _difference(runs: list, units: list, rates: Rates, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Second run minus first, each resample with the same questions of both."""
    first, second = (rates(items, _drawn(weights, of)) for items, of in zip(runs, units, strict=True))
    return {name: second[name] - first[name] for name in first if name in second}


def _exchanged(runs: list, units: list, num_units: int, rates: Rates) -> dict[str, np.ndarray]:
    """The difference after the answers to some questions were exchanged."""
    kept = np.random.default_rng(SEED).integers(0, 2, (RESAMPLES, num_units)).astype(np.float32)
    items, num_first = [*runs[0], *runs[1]], len(runs[0])

    def figures(weights: np.ndarray) -> Mapping[str, np.ndarray]:
        def total(values: np.ndarray) -> np.ndarray:
            first = _per_unit(values[:num_first], units[0], num_units)
            second = _per_unit(values[num_first:], units[1], num_units)
            return (weights @ (first - second)).astype(float) + second.sum(dtype=float)

        return rates(items, total)

    first, second = figures(kept), figures(1 - kept)
    return {name: second[name] - first[name] for name in first}


def _units(items: Sequence[dict]) -> tuple[np.ndarray, int]:
    """Which question each item answers, and how many there are."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(item["id"], len(numbers)) for item in items], int), len(numbers)


def _drawn(weights: np.ndarray, units: np.ndarray) -> Total:
    """Sums in which each question counts as often as it was drawn."""
    return lambda values: (weights @ _per_unit(values, units, weights.shape[1])).astype(float)


def _per_unit(values: np.ndarray, units: np.ndarray, num_units: int) -> np.ndarray:
    return np.bincount(units, values, num_units).astype(np.float32)


def _bootstrap(num_units: int) -> np.ndarray:
    """How often each question is drawn, [R, questions]."""
    generator = np.random.default_rng(SEED)
    weights = np.empty((RESAMPLES, num_units), np.float32)
    for row in weights:
        row[:] = np.bincount(generator.integers(0, num_units, num_units), minlength=num_units)
    return weights


def _interval(values: np.ndarray) -> tuple[float, float]:
    edge = (1 - LEVEL) / 2
    low, high = np.nanquantile(values, [edge, 1 - edge])
    return float(low), float(high)
