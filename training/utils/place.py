"""Which file an error is about. The system names it where a file is opened, and not where one is written."""

import io
import os
from pathlib import Path
from traceback import walk_tb


def place_of(error: BaseException) -> str | None:
    """The file that the error names, or else what the innermost function that knows a file was at."""
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if named is not None:
        return str(named)
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    found = (_file(value) for frame in reversed(frames) for value in frame.f_locals.values())
    return next((file for file in found if file), None)


def keep_place(error: BaseException) -> None:
    """Has an error name its file itself: on its way to another process it loses where it came from."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = place_of(error)


def _file(value: object) -> str | None:
    if isinstance(value, io.IOBase):
        value = getattr(value, "name", None)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and len(value) < 4096 and os.path.isabs(value):
        return value if os.path.exists(value) else None
    return None
