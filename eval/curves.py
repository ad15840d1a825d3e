"""Training curves as points of small SVG panels, from the log.jsonl of a stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.loop.meter import HIDDEN, UNITS

WIDTH, HEIGHT = 240, 96  # of a panel's drawing, in SVG units
MOST_POINTS = 160


@dataclass(frozen=True)
class Panel:
    name: str
    unit: str
    last: float
    low: float
    high: float
    steps: int
    training: str  # points of an SVG polyline
    held_out: str


def panels(log: Path) -> list[Panel]:
    """A panel for each figure of a log that changes, against optimizer steps."""
    lines = jsonl.read(log)
    if not lines:
        raise DataError(f"{log}: no lines; expected the log.jsonl of a stage")
    names = [name for line in lines for name in line if name not in HIDDEN]
    found = []
    for name in dict.fromkeys(name.removeprefix("eval_") for name in names):
        training, held_out = (
            [(line["step"], line[series]) for line in lines if line.get(series) is not None]
            for series in (name, f"eval_{name}")
        )
        shown = thinned(training)
        values = [value for _, value in (*shown, *held_out)]
        if len(values) < 2 or min(values) == max(values):
            continue
        box = (lines[-1]["step"], min(values), max(values))
        last = (training or held_out)[-1][1]
        found.append(
            Panel(
                name.replace("_", " "),
                UNITS.get(name, ""),
                last,
                box[1],
                box[2],
                box[0],
                *(polyline(points, *box) for points in (shown, held_out)),
            )
        )
    return found


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS, each the mean of its neighbours."""
    size = -(-len(points) // MOST_POINTS) or 1
    chunks = [points[first : first + size] for first in range(0, len(points), size)]
    return [(fmean(step for step, _ in chunk), fmean(value for _, value in chunk)) for chunk in chunks]


def polyline(points: Sequence[tuple[float, float]], steps: int, low: float, high: float) -> str:
    """Points in the panel: step 0 at the left, `steps` at the right, `low` at the bottom."""
    return " ".join(
        f"{WIDTH * step / steps:.1f},{HEIGHT * (high - value) / (high - low):.1f}" for step, value in points
    )
