"""How file formats spell a record: LLaVA's JSON, the columns of TRL, RLAIF-V and reward benchmarks."""

from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from .record import DataError, Turn

LLAVA_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


@dataclass
class Spelled:
    """A record as its file has it, before it is checked."""

    id: Any
    images: list[str | Image.Image]
    turns: list[Turn]
    responses: list[str]
    scores: tuple[float, ...] | None = None
    label: str | None = None
    origin: str = ""
    system: str = ""


def normalise(entry: Any, columns: dict | None = None) -> Spelled:
    """An entry of any format, as one form.

    Raises:
        DataError: no format is known by these keys.
    """
    if not isinstance(entry, dict):
        raise DataError(f"found {type(entry).__name__}, expected a JSON object with `conversations`")
    for keys, read in _FORMATS.items():
        if set(keys) <= entry.keys():
            return replace(read(entry), origin=str(entry.get("origin_dataset") or entry.get("source") or ""))
    raise DataError(
        f"found the keys {', '.join(sorted(entry)) or 'none'}; expected `conversations` (LLaVA), "
        "`chosen` and `rejected` with `prompt` (TRL) or `question` (RLAIF-V), `prompt`, `completion` and `label` "
        "(TRL, unpaired), or those of a reward benchmark"
    )


def _llava(entry: dict) -> Spelled:
    messages = entry["conversations"]
    if not isinstance(messages, list) or not messages:
        raise DataError("`conversations` is empty or no list; expected human and gpt turns in alternation")
    turns, responses = [], []
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not {"from", "value"} <= message.keys():
            raise DataError(f"turn {place}: expected an object with `from` and `value`")
        role, value = LLAVA_ROLES.get(message["from"]), message["value"]
        if role != ("user", "assistant")[place % 2]:
            expected = ("human", "gpt")[place % 2]
            raise DataError(f"turn {place} is from {message['from']!r}, expected {expected}: turns alternate")
        is_last_answer = role == "assistant" and place == len(messages) - 1
        if is_last_answer:
            responses = _texts(value, place)
        elif not isinstance(value, str):
            raise DataError(f"turn {place}: found {type(value).__name__}, expected text")
        else:
            turns.append(Turn(role, value))
    scores = entry.get("scores", entry.get("score"))
    if scores is not None:
        scores = tuple(map(float, scores if isinstance(scores, list) else [scores]))
        if len(scores) != len(responses):
            raise DataError(
                f"found {len(scores)} score(s) for {len(responses)} response(s); expected one for each"
            )
    label = entry.get("label")
    if isinstance(label, bool):  # of one answer: desirable or not
        label, scores = None, (float(label),) * len(responses)
    return Spelled(
        entry.get("id"),
        _images(entry.get("image")),
        turns,
        responses,
        scores,
        None if label is None else str(label),
    )


def _texts(value: Any, place: int) -> list[str]:
    if isinstance(value, str):
        return [value] if value.strip() else []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise DataError(f"turn {place}: expected a text, or a list of texts with the best first")
    if not value:
        raise DataError(f"turn {place}: the list of responses is empty; expected the best first")
    return value


def _images(value: Any) -> list[str | Image.Image]:
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    if isinstance(value, dict) and value.get("bytes"):  # an image column of the datasets library, not decoded
        return [value["bytes"]]
    if isinstance(value, Image.Image | bytes):
        return [value]
    if isinstance(value, list):
        return [image for part in value for image in _images(part)]
    raise DataError(f"`image` is {type(value).__name__}; expected a path, a list of paths, or null")


def _preference(entry: dict) -> Spelled:
    images = _images(entry.get("images", entry.get("image")))
    chosen, rejected = entry["chosen"], entry["rejected"]
    prompt = entry.get("prompt", entry.get("question"))
    if prompt is None and isinstance(chosen, list):  # the prompt is what both conversations begin with
        # The shorter one may be all of the prompt that there is: they differ at its end at the latest.
        shared = next(
            (i for i, (c, r) in enumerate(zip(chosen, rejected, strict=False)) if c != r), len(chosen)
        )
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    if prompt is None:
        raise DataError("`chosen` and `rejected` are texts and there is no `prompt` or `question`")
    turns = [Turn("user", prompt)] if isinstance(prompt, str) else [_message(message) for message in prompt]
    return Spelled(entry.get("id", entry.get("idx")), images, turns, [_answer(chosen), _answer(rejected)])


def _labelled(entry: dict) -> Spelled:
    """One answer, desirable or not: scores of 1 and 0."""
    prompt, label = entry["prompt"], entry["label"]
    if not isinstance(label, bool):
        raise DataError(f"`label` is {label!r}; expected true or false")
    turns = [Turn("user", prompt)] if isinstance(prompt, str) else [_message(message) for message in prompt]
    images = _images(entry.get("images", entry.get("image")))
    return Spelled(entry.get("id"), images, turns, [_answer(entry["completion"])], (float(label),))


def _message(message: dict) -> Turn:
    if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
        raise DataError("a message lacks `role` or `content`")
    content = message["content"]
    if not isinstance(content, str):  # TRL's vision form: a list of image and text parts
        content = "".join(
            "<image>" if part["type"] == "image" else part.get("text") or "" for part in content
        )
    if message["role"] not in ("user", "assistant"):
        raise DataError(f"a message has the role {message['role']!r}; expected user or assistant")
    return Turn(message["role"], content)


def _answer(value: Any) -> str:
    if isinstance(value, list):
        if len(value) != 1:
            raise DataError(
                f"`chosen`, `rejected` or `completion` holds {len(value)} messages after the prompt; expected one"
            )
        return _message(value[0]).text
    return value


def _vl_rewardbench(entry: dict) -> Spelled:
    """`human_ranking` holds the rank of each response, 0 for the best."""
    ranks, responses = list(entry["human_ranking"]), list(entry["response"])
    if len(ranks) != len(responses):
        raise DataError(
            f"`human_ranking` holds {len(ranks)} ranks for {len(responses)} responses; expected one each"
        )
    ranked = [responses[place] for place in sorted(range(len(ranks)), key=ranks.__getitem__)]
    return Spelled(entry.get("id"), _images(entry.get("image")), [Turn("user", entry["query"])], ranked)


def _multimodal_rewardbench(entry: dict) -> Spelled:
    order = {"Output1": ("Output1", "Output2"), "Output2": ("Output2", "Output1")}.get(entry["Better"])
    if order is None:
        raise DataError(f"`Better` is {entry['Better']!r}, expected Output1 or Output2")
    ranked = [entry[name] for name in order]
    return Spelled(entry.get("ID"), _images(entry.get("Image")), [Turn("user", entry["Text"])], ranked)


# By the keys that an entry has.
_FORMATS = {
    ("conversations",): _llava,
    ("chosen", "rejected"): _preference,
    ("prompt", "completion", "label"): _labelled,
    ("query", "response", "human_ranking"): _vl_rewardbench,
    ("Text", "Output1", "Output2", "Better"): _multimodal_rewardbench,
}
