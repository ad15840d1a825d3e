"""Figures of several runs side by side, each with its difference to the first run, from the JSON of scorers."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.benches.table import rates_of
from eval.provenance import files_of
from eval.uncertainty import Difference, compare
from training.utils.data.record import DataError

Files = Mapping[str, Mapping[str, Path]]  # run -> name of a score -> file

# A change of what is neither better nor worse is shown without a judgement.
LOWER_IS_BETTER = re.compile(r"CHAIR|Hal|Cog|\w*hall|parse_failures|losses|unknown")
NEUTRAL = re.compile(r"words|yes_|fp_ratio|first_shown|ties|consistent|length|reference|similarity")
COUNTS = ("parse_failures", "n", "coverage", "asked", "answered")  # beside the metrics; no change is shown
HEADLINES = (
    "Hal",
    "hallucination_rate",
    "CHAIR_i",
    "F1",
    "relative",
    "win_rate",
    "score",
    "G_Acc",
    "harmonic_mean",
    "accuracy",
)
DEPENDS_ON = ("bench", "variant", "judge", "settings", "truth", "generation")  # else nothing compares


@dataclass(frozen=True)
class Cell:
    value: float
    change: float | None  # to the first run; none: it is the first, or has no such figure
    better: bool | None  # none: no change, one that is neither, or one that may be chance
    interval: tuple[float, float] | None = None  # 95 %, by the choice of questions


@dataclass(frozen=True)
class Row:
    metric: str
    cells: tuple[Cell | None, ...]  # one for each run


@dataclass(frozen=True)
class Section:
    """One benchmark, or one way of decoding: what all runs got in the scores of one name."""

    name: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> Row | None:
        rows = {row.metric: row for row in self.rows}
        return next((rows[name] for name in HEADLINES if name in rows), None)


def read_scores(file: Path) -> dict:
    """The JSON that eval/score.py and eval/judge.py write."""
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected the --output of eval.score or eval.judge")
    try:
        scores = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: {error}; expected the --output of eval.score or eval.judge") from None
    if not isinstance(scores, dict) or "metrics" not in scores:
        raise DataError(f"{file}: no metrics; expected the --output of eval.score or eval.judge")
    return scores


def in_folders(runs: Sequence[str]) -> dict[str, dict[str, Path]]:
    """The score files below each folder of `NAME=FOLDER`, called by their place in it; other JSON is left out."""
    files = {}
    for run in runs:
        name, separator, folder = run.partition("=")
        if not (separator and name and Path(folder).is_dir()):
            raise DataError(f"--runs {run}: expected NAME=FOLDER, a folder of score files")
        found = {}
        for file in sorted(Path(folder).rglob("*.json")):
            try:
                read_scores(file)
            except DataError:
                continue
            found[file.relative_to(folder).with_suffix("").as_posix()] = file
        if not found:
            raise DataError(f"--runs {run}: no score file there; expected the --output of eval.score")
        files[name] = found
    return files


def sections(files: Files) -> list[Section]:
    """A section for each name of a score, in the order in which they come up."""
    names = dict.fromkeys(name for scores in files.values() for name in scores)
    return [
        section(
            name,
            {run: read_scores(Path(scores[name])) for run, scores in files.items() if name in scores},
            list(files),
        )
        for name in names
    ]


def section(name: str, scores: Mapping[str, dict], runs: Sequence[str]) -> Section:
    """`scores` of the runs that have this benchmark; the first of `runs` is what the others are compared to."""
    by_run = {run: dict(figures(scores[run])) for run in scores}
    metrics = dict.fromkeys(metric for found in by_run.values() for metric in found)
    base = by_run.get(runs[0], {})
    tested = differences(scores, runs[0])
    rows = []
    for metric in metrics:
        cells = [
            cell(
                metric,
                by_run[run][metric],
                None if run == runs[0] else base.get(metric),
                tested.get(run, {}).get(metric),
                (scores[run].get("intervals") or {}).get(metric),
            )
            if metric in by_run.get(run, {})
            else None
            for run in runs
        ]
        rows.append(Row(metric, tuple(cells)))
    told = [tell(run, runs[0], found) for run, found in tested.items()]
    return Section(name, tuple(rows), (*filter(None, told), *notes(scores)))


def differences(scores: Mapping[str, dict], base: str) -> dict[str, dict[str, Difference]]:
    """Each run against the first, by a paired test on the questions that both answered.

    None where figures do not compare (other truth: other questions), or nothing says how they come from the items.
    """
    found = {}
    first = scores.get(base, {})
    for run, other in scores.items():
        alike = all(first.get(key) == other.get(key) for key in ("bench", "variant", "judge", "settings"))
        alike &= len({files_of(each.get("truth", [])) for each in (first, other)} - {""}) < 2
        rates = rates_of(other.get("bench", ""))
        if run != base and first.get("per_item") and other.get("per_item") and alike and rates:
            found[run] = compare(first["per_item"], other["per_item"], rates)
    return found


def tell(run: str, base: str, found: Mapping[str, Difference]) -> str:
    """What the test says of each figure."""
    if not found:
        return ""
    parts = []
    for name, difference in found.items():
        low, high = signed(difference.low), signed(difference.high)
        verdict = "" if difference.is_told_apart else ", can not be told apart"
        parts.append(f"{name} {signed(difference.change)} ({low} to {high}, p {difference.p:.3f}{verdict})")
    number_of = next(iter(found.values())).n
    return f"{run} against {base} on the {number_of:,} questions that both answered: {'; '.join(parts)}"


def figures(scores: dict) -> Iterator[tuple[str, float]]:
    """Whatever is a number: metrics, those of groups where there are several, counts."""
    groups = scores.get("groups") or {}
    parts = {"": scores["metrics"]} | (groups if len(groups) > 1 else {})
    for group, metrics in parts.items():
        for name, value in metrics.items():
            if isinstance(value, int | float) and math.isfinite(value):
                yield f"{group}: {name}" if group else name, value
    for name in COUNTS:
        if isinstance(scores.get(name), int | float) and name not in scores["metrics"]:
            yield name, scores[name]


def cell(
    metric: str,
    value: float,
    base: float | None,
    tested: Difference | None = None,
    interval: Sequence[float] | None = None,
) -> Cell:
    change = None if base is None or metric in COUNTS else value - base
    name = metric.rsplit(": ", 1)[-1]
    limits = (interval[0], interval[1]) if interval else None
    if not change or NEUTRAL.match(name) or (tested and not tested.is_told_apart):
        return Cell(value, change, None, limits)
    return Cell(value, change, (change < 0) == bool(LOWER_IS_BETTER.match(name)), limits)


def notes(scores: Mapping[str, dict]) -> Iterator[str]:
    """What the figures depend on, where runs differ in it, and the warnings of the scorers."""
    for key in DEPENDS_ON:
        said = {run: plain(found[key]) for run, found in scores.items() if found.get(key)}
        if len(set(said.values())) == 1 and len(said) == len(scores):
            yield f"{key}: {next(iter(said.values()))}"
        elif said:
            parts = "; ".join(f"{run}: {said.get(run, 'not known')}" for run in scores)
            yield f"not the same {key}, so not to be compared: {parts}"
    for run, found in scores.items():
        yield from (f"{run}: {warning}" for warning in found.get("warnings", []))


def plain(value: object) -> str:
    if isinstance(value, list):
        return files_of(value)
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def signed(change: float | None) -> str:
    """A change with its sign; a true minus, so that columns line up."""
    if change is None:
        return ""
    return "±0" if not change else ("+" if change > 0 else "−") + number(abs(change))


def relative(row: Row, place: int) -> str:
    """By how many percent a figure has changed against the first run."""
    first, this = row.cells[0], row.cells[place]
    return (
        f"{signed(round(100 * this.change / first.value))} %" if first and first.value and this.change else ""
    )


def written(found: Cell | None) -> str:
    """A figure with its interval and its change."""
    if found is None:
        return ""
    limits = f" [{number(found.interval[0])}, {number(found.interval[1])}]" if found.interval else ""
    return number(found.value) + limits + (f" ({signed(found.change)})" if found.change is not None else "")


def markdown(found: Sequence[Section], runs: Sequence[str]) -> str:
    """One table, padded so that a terminal shows it as well: a row for each figure, a column for each run."""
    table = [["bench", "figure", *runs], []]
    for part in found:
        for row in part.rows:
            table.append([part.name, row.metric, *map(written, row.cells)])
    widths = [max(len(line[column]) for line in table if line) for column in range(len(table[0]))]
    table[1] = ["-" * width for width in widths]
    lines = [
        " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in table
    ]
    told = [f"- {part.name}: {note}" for part in found for note in part.notes]
    return "\n".join([*(f"| {line} |" for line in lines), *(["", *told] if told else [])])
