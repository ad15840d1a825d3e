"""What a survey says: tables and warnings, for the terminal and for the page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

PERCENTILES = (50, 90, 95, 99, 100)
Z_95 = 1.96  # of the normal distribution


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""


@dataclass(frozen=True)
class Part:
    """What one look at all records found."""

    tables: list[Table] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # whole sentences


def as_text(table: Table) -> str:
    """A table for the terminal: numbers stand below each other on the right, all else on the left."""
    columns = list(zip(table.columns, *table.rows, strict=True))
    padded = [
        _padded(column, place > 0 and all(map(_is_number, column[1:])))
        for place, column in enumerate(columns)
    ]
    lines = [f"  {'  '.join(cells)}".rstrip() for cells in zip(*padded, strict=True)]
    return "\n".join([table.title, *lines, *([f"  ({table.note})"] if table.note else [])])


def _padded(cells: Sequence[str], right: bool) -> list[str]:
    width = max(map(len, cells))
    return [cell.rjust(width) if right else cell.ljust(width) for cell in cells]


def _is_number(cell: str) -> bool:
    return not cell or cell.lstrip("+-±")[:1].isdigit() or cell.startswith(("under ", "± "))


def percentiles(title: str, found: dict[str, Sequence[int]], note: str = "") -> Table:
    """The values below or at which so many percent lie, each one that occurs; names without any are left out."""
    rows = [
        (name, *(f"{at_percent(values, p):,}" for p in PERCENTILES))
        for name, values in found.items()
        if len(values)
    ]
    return Table(title, ("", *(f"{p} %" for p in PERCENTILES)), rows, note)


def at_percent(values: Sequence[int], percent: float) -> int:
    """The smallest of the values that at least so many percent of them do not exceed."""
    return int(np.percentile(values, percent, method="inverted_cdf"))


def share(part: int, whole: int) -> str:
    """A percentage for reading."""
    if not whole or not part:
        return "0 %"
    percent = 100 * part / whole
    return "under 0.1 %" if percent < 0.1 else f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def wilson(part: float, whole: int) -> tuple[float, float]:
    """The 95 % interval of a share by E. B. Wilson (J. Am. Stat. Assoc. 22, 1927), 0 to 1."""
    if not whole:
        return 0.0, 1.0
    p, z = part / whole, Z_95
    middle = p + z * z / (2 * whole)
    half = z * sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole))
    return (middle - half) / (1 + z * z / whole), (middle + half) / (1 + z * z / whole)
