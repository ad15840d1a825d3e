"""JSON texts: parsed, or why they can't be."""

import json
from typing import Any


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
