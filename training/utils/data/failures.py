"""What is no record, and why: one type for whatever touches a record, and one place that tells of it."""

import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..process import dist
from .record import DataError, TooLongError

logger = logging.getLogger(__name__)

NUM_LISTED = 20  # failures that a message names; a file holds them all


@dataclass(frozen=True)
class Failure:
    """An entry that is no record, and why."""

    source: str  # "file[index]"
    id: str  # "" if it has none
    reason: str
    needed: int = 0  # tokens, where it does not fit into --max_seq_len

    def __str__(self) -> str:
        return f"{self.source}{f' id={self.id}' if self.id else ''}: {self.reason}"


def failure(source: str, name: Any, error: Exception) -> Failure:
    """The failure that an exception means, whatever its kind: one odd entry never ends in a traceback."""
    reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    shown = "" if name is None else _printable(str(name))[:80]
    needed = error.needed if isinstance(error, TooLongError) else 0
    return Failure(source, shown, _printable(reason.removeprefix(f"{source}: ")), needed)


def _printable(text: str) -> str:
    """The text with escapes in place of what a terminal could not show, or would obey."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def settle(failures: Sequence[Failure], total: int, skip: bool, file: Path | None = None) -> None:
    """Ends the run, or tells what was left out: a table of reasons, and all of them in `file`.

    Raises:
        DataError: there are failures, and they are not to be skipped or nothing is left.
    """
    if file and dist.is_main():
        file.unlink(missing_ok=True)  # of an earlier run none stays
        if failures:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(json.dumps(asdict(each)) + "\n" for each in failures))
    if not failures:
        return
    listed = f"; {file} lists them" if file else ""
    if not skip:
        raise DataError(
            f"{len(failures)} of {total} records can't be used{listed}; the first: {failures[0]}. {_length(failures)}"
            "Mend them, or leave them out with --on_bad_record skip"
        )
    if len(failures) == total:
        raise DataError(
            f"no usable record among {total}{listed}; the first: {failures[0]}. {_length(failures)}".rstrip(
                ". "
            )
        )
    lines = [f"skipped {len(failures)} of {total} records{listed}"]
    lines += [f"  {count:>8,} x {reason}" for reason, count in reasons(failures).most_common()]
    lines += ["the first of them:", *(f"  {each}" for each in failures[:NUM_LISTED])]
    logger.warning("\n".join(lines))


def _length(failures: Sequence[Failure]) -> str:
    """The length that would do for all that are too long, as a sentence."""
    too_long = [each.needed for each in failures if each.needed]
    if not too_long:
        return ""
    return f"{len(too_long)} of them are too long: --max_seq_len {max(too_long)} holds each of these whole. "


def reasons(failures: Sequence[Failure]) -> Counter[str]:
    """How many failures are of a kind: reasons that differ in names and numbers alone are one."""
    return Counter({kind: len(alike) for kind, alike in by_reason(failures).items()})


def by_reason(failures: Sequence[Failure]) -> dict[str, list[Failure]]:
    """The failures of each kind."""
    found: dict[str, list[Failure]] = {}
    for each in failures:
        found.setdefault(_kind(each.reason), []).append(each)
    return found


def _kind(reason: str) -> str:
    without_names = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "'...'", reason)
    return re.sub(r"(?<![\w`])[-+]?\d[\d,.]*", "N", without_names)[:160]
