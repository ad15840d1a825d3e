"""How file formats spell a record: LLaVA's JSON, TRL's and RLAIF-V's columns. `data/README.md` documents them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from .images import open_image
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


def read_entries(path: Path) -> Iterable[Any]:
    """The entries of a JSON list or JSON Lines file, or the rows of a data set.

    Raises:
        DataError: the file is not there or does not parse.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; set --data_path")
    if path.is_dir() or path.suffix in (".parquet", ".arrow"):
        return _read_dataset(path)
    text = path.read_text(encoding="utf-8-sig")
    try:
        if text.lstrip().startswith("["):
            return json.loads(text)
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        line = text.count("\n", 0, error.pos) + 1 if text.lstrip().startswith("[") else "?"
        raise DataError(
            f"{path}: does not parse as JSON at line {line}: {error.msg}; expected a JSON list, or one object a line"
        ) from None


def _read_dataset(path: Path) -> Iterable[Any]:
    import datasets

    if path.is_dir() and (path / "dataset_info.json").is_file():
        return datasets.load_from_disk(str(path))
    files = [str(path)] if path.is_file() else sorted(map(str, path.glob("**/*.parquet")))
    if not files:
        raise DataError(f"{path}: holds no data set; expected parquet files, or a folder of save_to_disk")
    return datasets.load_dataset("parquet", data_files=files, split="train")


def normalise(entry: Any) -> Spelled:
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
        "`chosen` and `rejected` with `prompt` (TRL) or `question` (RLAIF-V), or `prompt`, `completion` and `label` "
        "(TRL, unpaired)"
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
        return [open_image(Image.open(BytesIO(value["bytes"])))]
    if isinstance(value, Image.Image):
        return [value]
    if isinstance(value, list):
        return [image for part in value for image in _images(part)]
    raise DataError(f"`image` is {type(value).__name__}; expected a path, a list of paths, or null")


def _preference(entry: dict) -> Spelled:
    images = _images(entry.get("images", entry.get("image")))
    chosen, rejected = entry["chosen"], entry["rejected"]
    prompt = entry.get("prompt", entry.get("question"))
    if prompt is None and isinstance(chosen, list):  # the prompt is what both conversations begin with
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


# By the keys that an entry has.
_FORMATS = {
    ("conversations",): _llava,
    ("chosen", "rejected"): _preference,
    ("prompt", "completion", "label"): _labelled,
}
