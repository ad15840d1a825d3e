"""Counts what a micro-batch of each stage asks of a GPU, on tensors without data; no GPU is needed.

python -m scripts.rehearse [STAGE [FAMILY [SIZE]]]
"""

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.rehearsal.counts import Counts
from scripts.rehearsal.shapes import MODELS
from scripts.rehearsal.stages import WORK, Rehearsal
from training.utils.config.flags import flag, require
from training.utils.process.command import run_command

COLUMNS = ("model", "work", "kernels", "host syncs", "TFLOP", "ratio", "GB touched", "peak GiB")
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def row(model: str, name: str, trees: Counts, rows: Counts) -> str:
    """One line of the table: trees / separate rows."""
    pairs = [
        f"{trees.kernels:,} / {rows.kernels:,}",
        f"{trees.syncs} / {rows.syncs}",
        f"{trees.flops / 1e12:,.2f} / {rows.flops / 1e12:,.2f}",
        f"{rows.flops / trees.flops:.2f}" if trees.flops else "",
        f"{trees.bytes / 1e9:,.1f} / {rows.bytes / 1e9:,.1f}",
        f"{trees.peak / 2**30:.1f} / {rows.peak / 2**30:.1f}",
    ]
    return f"| {model} | {name} | " + " | ".join(pairs) + " |"


def chosen(stage: str | None, family: str | None, size: str | None) -> Iterator[tuple[str, str, str]]:
    for known_family, known_size in MODELS:
        for known in WORK:
            if stage in (None, known) and family in (None, known_family) and size in (None, known_size):
                yield known, known_family, known_size


@dataclass(frozen=True)
class RehearsalConfig:
    stage: str | None = flag(None, f"{', '.join(WORK)}; none: all.", positional=True)
    family: str | None = flag(None, "Family of models; none: all.", positional=True)
    size: str | None = flag(None, "Size of a model; none: all.", positional=True)
    layers: int | None = flag(None, "Layers of language model and tower; none: as published.")

    def __post_init__(self) -> None:
        known = ", ".join(map(" ".join, MODELS))
        require(
            any(chosen(self.stage, self.family, self.size)),
            f"{self.stage} {self.family or ''} {self.size or ''}".rstrip()
            + f": unknown; expected a stage of {', '.join(WORK)} and a model of {known}",
        )


def main(flags: RehearsalConfig) -> None:
    runs = list(chosen(flags.stage, flags.family, flags.size))
    print(HEADER, flush=True)
    for stage, family, size in runs:
        counted = []
        for as_rows in (False, True):
            with Rehearsal(family, size, flags.layers) as rehearsal:
                counted.append(rehearsal.count(stage, as_rows))
        for name, trees in counted[0].items():
            print(row(f"{family} {size}", name, trees, counted[1][name]), flush=True)
        if len(runs) == 1:
            for name, trees in counted[0].items():
                for place, count in trees.places.items():
                    print(f"{name}: {count} at {place}")


if __name__ == "__main__":
    run_command(main, RehearsalConfig)
