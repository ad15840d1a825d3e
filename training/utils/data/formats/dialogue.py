"""Messages to turns: the spellings of roles and contents that data sets use."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..record import MARKER, DataError, Turn
from .pictures import take_pictures
from .row import Row
from .spelled import Picture
from .values import as_messages, as_text, shown

USER = {"human", "user", "usr", "prompter", "question"}
ASSISTANT = {
    "gpt",
    "assistant",
    "chatgpt",
    "gpt4",
    "bot",
    "chatbot",
    "model",
    "ai",
    "llm",
    "llava",
    "bing",
    "bard",
}
SYSTEM = {"system", "developer"}
_ROLES = dict.fromkeys(USER, "user") | dict.fromkeys(ASSISTANT, "assistant") | dict.fromkeys(SYSTEM, "system")
_TOOLS = {"tool", "function", "function_call", "tool_call", "tool_response", "observation", "ipython"}


@dataclass
class Dialogue:
    """Turns up to the last one of the user, and what answers it."""

    turns: list[Turn] = field(default_factory=list)
    responses: list[str] = field(default_factory=list)  # none, one, or several with the best first
    system: str = ""
    images: list[Picture] = field(default_factory=list)  # that lie in the messages themselves


def read_messages(messages: Sequence[Row], what: str) -> Dialogue:
    """Messages with `from` and `value`, or `role` and `content`.

    Args:
        what: their key in a message.

    Raises:
        DataError: they are none, roles do not alternate, a role is a tool's, or a content is no text.
    """
    if not messages:
        raise DataError(f"{what} is empty; expected human and gpt turns in alternation")
    found = Dialogue()
    for place, message in enumerate(messages):
        spelling, role = _role(message)
        if role == "system":
            if found.turns or found.responses or found.system:
                raise DataError(f"{message.place}is a second or later system prompt; expected one in front")
            found.system = _content(message, found.images)
            continue
        expected = "user" if len(found.turns) % 2 == 0 else "assistant"
        if role != expected or found.responses:
            named = {"user": "human", "assistant": "gpt"}[expected] if "from" in message else expected
            raise DataError(f"{message.place}is from {spelling!r}, expected {named}: turns alternate")
        if role == "assistant" and place == len(messages) - 1:
            found.responses = _answers(message)
        else:
            num_images = len(found.images)
            found.turns.append(Turn(role, _content(message, found.images)))
            if role == "assistant" and len(found.images) > num_images:
                raise DataError(f"{message.place}is an answer with a picture; a model here answers in text")
    if not found.turns:
        raise DataError(f"{what} holds no user turn; expected human and gpt turns in alternation")
    return found


def read_prompt(row: Row, key: str) -> Dialogue:
    """A prompt: a text, or messages of which the last is the user's."""
    if isinstance(as_messages(row.fields.get(key), row.what(key)), str):
        return Dialogue([Turn("user", row.text(key))])
    found = read_messages(row.rows(key), row.what(key))
    if found.responses:
        raise DataError(
            f"{row.what(key)} ends with an answer; expected the user's turn, or `messages` as the key"
        )
    return found


def read_answer(row: Row, key: str) -> Dialogue:
    """An answer: a text, a message, or messages, which may begin with the prompt."""
    value = as_messages(row.need(key), row.what(key))
    if isinstance(value, str):
        return Dialogue(responses=[row.text(key)] if value.strip() else [])
    if isinstance(value, dict):
        return Dialogue(responses=_only_answer(row.of(value, f"{row.what(key)} ")))
    messages = row.rows(key)
    if len(messages) == 1:
        return Dialogue(responses=_only_answer(messages[0]))
    found = read_messages(messages, row.what(key))
    if not found.responses:
        raise DataError(f"{row.what(key)} ends with the user's turn; expected an answer")
    return found


def read_one_answer(row: Row, key: str) -> list[str]:
    """An answer that holds no prompt; none if it is empty."""
    found = read_answer(row, key)
    if found.turns or len(found.responses) > 1:
        raise DataError(f"{row.what(key)} holds more than one answer; expected a text or one message")
    return found.responses


def _only_answer(message: Row) -> list[str]:
    spelling, role = _role(message)
    if role != "assistant":
        raise DataError(f"{message.place}is from {spelling!r}, expected an answer of the assistant")
    return _answers(message)


def _role(message: Row) -> tuple[str, str]:
    """A role as it is written, and what it means."""
    keys = [key for key in ("from", "role") if key in message]
    if len(keys) != 1:
        raise DataError(
            f"{message.place}lacks a role; expected an object with `from` and `value`, or `role` and `content`"
        )
    spelling = message.text(keys[0])
    if spelling.lower() in _TOOLS:
        raise DataError(
            f"{message.place}is from {spelling!r}: tools are not supported; leave such records out"
        )
    if spelling.lower() not in _ROLES:
        raise DataError(
            f"{message.place}is from {shown(spelling)}; expected human and gpt, or user and assistant"
        )
    return spelling, _ROLES[spelling.lower()]


def _value(message: Row) -> Any:
    keys = [key for key in ("value", "content", "preference_values") if key in message]
    if len(keys) == 1:
        return message.take(keys[0])
    state = "more than one content" if keys else "no `value` or `content`"
    tools = ", and calls a tool, which is not supported" if "tool_calls" in message else ""
    raise DataError(f"{message.place}has {state}{tools}; expected an object with `from` and `value`")


def _answers(message: Row) -> list[str]:
    """One answer, or several with the best first; an empty one is none."""
    value = _value(message)
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        images: list[Picture] = []
        value = _joined(
            [message.of(part, f"{message.place}part {i} ") for i, part in enumerate(value)], images
        )
        if images or MARKER in value:
            raise DataError(f"{message.place}is an answer with a picture; a model here answers in text")
    if isinstance(value, str):
        return [as_text(value, f"{message.place}text")] if value.strip() else []
    if not isinstance(value, list):
        raise DataError(
            f"{message.place}is {shown(value)}; expected a text, or a list of texts with the best first"
        )
    if not value:
        raise DataError(
            f"{message.place}has no answer: the list of responses is empty; expected the best first"
        )
    return [as_text(text, f"{message.place}answer {place}") for place, text in enumerate(value)]


def _content(message: Row, images: list[Picture]) -> str:
    value = _value(message)
    if isinstance(value, list):
        parts = [message.of(part, f"{message.place}part {i} ") for i, part in enumerate(value)]
        return _joined(parts, images)
    return as_text(value, f"{message.place}text")


def _joined(parts: Sequence[Row], images: list[Picture]) -> str:
    """Parts of text and pictures as one text with markers; pictures that lie in them are added to `images`."""
    texts = []
    for part in parts:
        kind = part.text("type")
        if kind in ("text", "input_text", "output_text"):
            texts.append(part.text("text"))
        elif kind in ("image", "image_url", "input_image"):
            inside = take_pictures(part).images
            for key in ("url", "path"):  # of transformers' chat templates
                if key in part and not inside:
                    inside = take_pictures(part.of({"image": part.take(key)}, part.place)).images
            if inside or kind == "image":
                texts.append(MARKER * (len(inside) or 1))
            else:
                raise DataError(f"{part.place}holds no picture; expected a path or a data URI")
            images.extend(inside)
        else:
            raise DataError(f"{part.place}has the type {shown(kind)}; expected text or image")
    return "".join(texts)
