"""JSON texts: parsed, or why they can't be."""

import json
from pathlib import Path
from typing import Any

from .record import DataError


def parsed(text: bytes) -> Any:
    """The value of a JSON text; none where it does not parse."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def why(error: Exception) -> str:
    """What a parser says, in few words."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.object[error.start]:#04x} is no UTF-8"
    return "Expecting value" if isinstance(error, StopIteration) else str(error)


def read_json(file: Path, *fields: str) -> Any:
    """The value of a JSON file, with or without a byte order mark.

    Args:
        fields: that it must have, as one object.

    Raises:
        DataError: it does not parse, or lacks a field.
        OSError: it can't be read.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: does not parse as JSON at line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{file}: does not parse as JSON: {why(error)}") from None
    lacks = [name for name in fields if not isinstance(value, dict) or name not in value]
    if lacks:
        raise DataError(f"{file}: expected a JSON object with {', '.join(f'`{name}`' for name in fields)}")
    return value
