"""Counts what a micro-batch of each stage asks of a GPU, on tensors without data; no GPU is needed.

python -m scripts.rehearse [STAGE [FAMILY [SIZE]]]
"""

import argparse
from collections.abc import Iterator

from scripts.rehearsal.counts import Counts
from scripts.rehearsal.shapes import MODELS
from scripts.rehearsal.stages import WORK, Rehearsal

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


def main() -> None:
    parser = argparse.ArgumentParser(description="What a step asks of a GPU, counted without one.")
    parser.add_argument("stage", nargs="?", choices=list(WORK))
    parser.add_argument("family", nargs="?", choices=sorted({family for family, _ in MODELS}))
    parser.add_argument("size", nargs="?", choices=sorted({size for _, size in MODELS}))
    parser.add_argument(
        "--layers", type=int, help="Layers of language model and tower; default: as published."
    )
    flags = parser.parse_args()
    runs = list(chosen(flags.stage, flags.family, flags.size))
    if not runs:
        parser.error(
            f"{flags.family} {flags.size}: unknown; expected one of {', '.join(map(' '.join, MODELS))}"
        )
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
    main()
