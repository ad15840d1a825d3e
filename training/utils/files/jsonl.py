"""JSON Lines files that a resumed run goes on writing."""

import json
import logging
import math
import os
from pathlib import Path
from typing import Any

from .whole import write_whole

logger = logging.getLogger(__name__)


def read(file: Path) -> list[dict]:
    """The lines of a file; none if it is not there. What is no JSON object is left out, and told.

    A last line without its end was cut off, and is left out in silence.
    """
    if not file.is_file():
        return []
    lines, damaged = [], []
    for number, text in enumerate(file.read_bytes().split(b"\n")[:-1], 1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        lines.append(line) if isinstance(line, dict) else damaged.append(number)
    if damaged:
        logger.warning(
            "%s: lines %s are no JSON objects and are left out", file, ", ".join(map(str, damaged))
        )
    return lines


def append(file: Path, line: dict) -> None:
    """Adds a line. Numbers that are not finite become null: JSON has none (RFC 8259, section 6)."""
    with file.open("a") as opened:
        opened.write(json.dumps(_finite(line), allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def cut_after(file: Path, step: int) -> None:
    """Drops the lines of steps after `step`: a run that resumes there writes them again."""
    kept = [line for line in read(file) if line.get("step", step + 1) <= step]
    if file.is_file():
        write_whole(file, "".join(json.dumps(line) + "\n" for line in kept))  # a kill loses no line


def mend(file: Path) -> None:
    """Drops a last line that was cut off, so that the next one does not go on in it."""
    if file.is_file() and not (text := file.read_bytes()).endswith(b"\n"):
        os.truncate(file, text.rfind(b"\n") + 1)  # nothing is written anew that a full disk would not take
