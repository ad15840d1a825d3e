"""What a judge is told, as an OpenAI-compatible endpoint takes it: a prompt with its places filled, and pictures."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from ..data.record import MARKER, DataError

Messages = list[dict[str, Any]]  # `role` and `content`: a text, or parts of text and pictures
Shown = Callable[[str], list[dict[str, Any]]]  # the pictures of a question's id, as parts of a message


def nothing(name: str) -> list[dict[str, Any]]:
    """Of a judge that sees no pictures."""
    return []


def told(text: str, pictures: Sequence[dict[str, Any]] = (), system: str = "") -> Messages:
    """A message of the user, pictures first where there are some, behind the system's if there is one."""
    content = [*pictures, {"type": "text", "text": text}] if pictures else text
    message = {"role": "user", "content": content}
    return [{"role": "system", "content": system}, message] if system else [message]


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def spoken(prompt: str) -> str:
    """A question without the image markers before and behind it: they say no more than that there is a picture.

    Markers inside it stay, since what stands around them says which picture is meant.
    """
    return re.sub(rf"^(?:\s*{MARKER})+\s*|(?:\s*{MARKER})+\s*$", "", prompt)


def concluded(reply: str) -> str:
    """What a judge says once it has thought aloud: verdicts that it only weighs are none."""
    return reply.rpartition("</think>")[2]


def fill(template: str, values: Sequence[str], flag: str, whose: str) -> str:
    """A prompt with a value for each `{}`. Braces in a value are text.

    Args:
        flag: where the prompt was given.
        whose: prompt it is, for the message.

    Raises:
        DataError: it has another number of places.
    """
    parts = template.split("{}")
    if len(parts) != len(values) + 1:
        raise DataError(f"{flag}: {len(parts) - 1} places {{}}; expected {len(values)}, as in {whose} prompt")
    return "".join(part + value for part, value in zip(parts, [*values, ""], strict=True))
