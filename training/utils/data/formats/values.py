"""Values of a row, checked; and how a message shows one that is wrong."""

import json
import math
import re
from decimal import Decimal
from typing import Any

from PIL import Image

from ..record import DataError

MAX_DEPTH = 16  # how deep nested values are looked into
# How messages begin that were written into a text: as JSON, or as Python shows them.
_MESSAGES = re.compile(r"\s*(\[\s*\{\s*['\"]|\{\s*\")(role|content|from|value)['\"]\s*:")
SHOWN_LEN = 60  # characters of a text that a message repeats


def shown(value: Any) -> str:
    """A value in a message: short, printable, never a whole picture."""
    if value is None:
        return "null"
    if isinstance(value, str):
        cut = value if len(value) <= SHOWN_LEN else f"{value[:SHOWN_LEN]}..."
        printable = repr(cut.encode("utf-8", "backslashreplace").decode())
        return printable if cut is value else f"{printable} ({len(value):,} characters)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10**15:
        return "a very large number"
    if isinstance(value, (int, float)):
        return f"the number {value:.6g}"
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value):,} bytes"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with the keys {names(value)}"
    if isinstance(value, Image.Image):
        return "a picture"
    return f"a {type(value).__name__}"


def names(keys) -> str:
    """Names of keys in a message, ten at most."""
    ordered = sorted(map(str, keys))
    more = f" and {len(ordered) - 10} more" if len(ordered) > 10 else ""
    return ", ".join(shown(name)[1:-1] for name in ordered[:10]) + more if ordered else "none"


def as_text(value: Any, what: str) -> str:
    """A text that a tokenizer can take.

    Args:
        what: the value's name in a message.

    Raises:
        DataError: it is something else, or holds half a surrogate pair.
    """
    if not isinstance(value, str):
        raise DataError(f"{what} is {shown(value)}; expected a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{what} holds half a surrogate pair (\\u{ord(value[error.start]):04x}) at character {error.start}; "
            "write the whole character or take it out"
        ) from None
    return value


def as_number(value: Any, what: str) -> float:
    """A finite number, also as the text that tables of text have; raises DataError if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise DataError(f"{what} is {shown(value)}; expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except ValueError:
        raise DataError(f"{what} is {shown(value)}; expected a number") from None
    if not math.isfinite(number):
        raise DataError(f"{what} is {number}; expected a finite number; mend it or leave the record out")
    return number


def as_flag(value: Any, what: str) -> bool:
    """True or false, also as the text that tables of text have; raises DataError if it is neither."""
    named = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(named, bool):
        raise DataError(f"{what} is {shown(value)}; expected true or false")
    return named


def as_label(value: Any, what: str) -> str:
    """A checkable answer: a text or a number, without the `<answer>` tags that R1-V puts around it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        as_number(value, what)
        return format(Decimal(str(value)), "f")  # 0.00001, where Python writes 1e-05
    text = as_text(value, what).strip()
    if text.endswith("</answer>") and "<answer>" in text:
        text = text.removesuffix("</answer>").rsplit("<answer>", 1)[1].strip()
    return text


def as_list(value: Any, what: str) -> list:
    """A list, also where the file keeps it as a JSON text."""
    value = parsed(value)
    if not isinstance(value, (list, tuple)):
        raise DataError(f"{what} is {shown(value)}; expected a list")
    return list(value)


def parsed(value: Any) -> Any:
    """What a JSON text of a list or an object holds; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def as_messages(value: Any, what: str) -> Any:
    """A text, or the messages that it is the JSON of, as tables of text keep them.

    Raises:
        DataError: it looks like messages and is no JSON.
    """
    if not isinstance(value, str) or not _MESSAGES.match(value):
        return value
    found = parsed(value)
    if isinstance(found, str):
        raise DataError(f"{what} is {shown(value)}: messages that are no JSON; write them by json.dumps")
    listed = found if isinstance(found, list) else [found]
    whole = all(
        isinstance(part, dict) and (part.keys() >= {"role", "content"} or part.keys() >= {"from", "value"})
        for part in listed
    )
    return found if whole else value


def is_empty(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a value says nothing, as columns of several data sets joined into one table do."""
    if depth == 0:
        return False
    if isinstance(value, str):
        return value.strip() in ("", "[]", "{}", "null")
    if isinstance(value, dict):
        return all(is_empty(part, depth - 1) for part in value.values())
    if isinstance(value, (list, tuple)):
        return all(is_empty(part, depth - 1) for part in value)
    return value is None or value == b"" or (isinstance(value, float) and math.isnan(value))
