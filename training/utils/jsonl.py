"""JSON Lines files that a resumed run goes on writing."""

import json
import math
from pathlib import Path
from typing import Any


def read(file: Path) -> list[dict]:
    """The lines of a file; none if it is not there. A last line without its end was cut off and is left out."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


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
    kept = [line for line in read(file) if line["step"] <= step]
    if file.is_file():
        file.write_text("".join(json.dumps(line) + "\n" for line in kept))


def mend(file: Path) -> None:
    """Drops a last line that was cut off, so that the next one does not go on in it."""
    if file.is_file() and not (text := file.read_text()).endswith("\n"):
        file.write_text(text[: text.rfind("\n") + 1])
