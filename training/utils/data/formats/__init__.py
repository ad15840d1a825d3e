"""How data sets spell a record: one table that chooses by keys, one small reader for each way.

A reader takes what it knows from a `Row`. What all formats share is read here: pictures, id, origin, system prompt
and label; then every key that is left over is harmless, or the record is refused by the key's name.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..record import MARKER, DataError, Turn
from . import benchmarks, chat, checkable, coco, feedback, llama_factory, llava, trl
from .coco import captions, is_captions
from .flattened import unflattened
from .leftovers import refuse_leftovers
from .names import IDS, ORIGINS, plain
from .pictures import Pictures, take_pictures
from .row import Row, renamed
from .spelled import Spelled
from .values import as_label, as_text, is_empty, names, shown

__all__ = ["FORMATS", "Spelled", "captions", "is_captions", "normalise"]

Reader = Callable[[Row], Spelled]

# By the keys that a row has; the first that fits.
FORMATS: tuple[tuple[tuple[str, ...], Reader], ...] = (
    (("conversations", "chosen", "rejected"), llama_factory.read_sharegpt_preference),
    (("conversations", "output_1", "output_2", "preference"), llava.read_llava_rlhf),
    (("conversations", "rejected_conversations"), llava.read_rejected_conversations),
    (("conversations",), llava.read_conversation),
    (("conversation",), llava.read_conversation),
    (("prompt", "chosen", "rejected"), trl.read_preference),
    (("question", "chosen", "rejected"), trl.read_preference),
    (("instruction", "chosen", "rejected"), llama_factory.read_alpaca_preference),
    (("messages", "chosen", "rejected"), llama_factory.read_sharegpt_preference),
    (("chosen", "rejected"), trl.read_preference),
    (("messages", "rejected_messages"), chat.read_rejected_messages),
    (("messages", "rejected_response"), chat.read_rejected_response),
    (("messages",), chat.read_chat),
    (("prompt", "completions"), feedback.read_completions),
    (("instruction", "completions"), feedback.read_completions),
    (("prompt", "completion"), trl.read_completion),
    (("instruction", "output"), llama_factory.read_alpaca),
    (("query", "response", "human_ranking"), benchmarks.read_vl_rewardbench),
    (("query", "response"), llama_factory.read_query),
    (("problem", "answer"), checkable.read_problem),
    (("problem", "solution"), checkable.read_problem),
    (("prompt", "reward_model"), checkable.read_verl),
    (("prompt",), trl.read_prompt_only),
    (("text", "origin_dataset"), feedback.read_rlhf_v),
    (("Text", "Output1", "Output2", "Better"), benchmarks.read_multimodal_rewardbench),
    (("texts",), llava.read_texts),
    (("caption",), coco.read_caption),
)
SYSTEM_KEYS = ("system", "systemprompt", "systemmessage")  # as `names.plain` writes them
# Of Qwen-VL, Phi-3, Llama 3.2, MMMU, InternLM-XComposer, DeepSeek-VL, Gemma 3 and InternVL.
OTHER_MARKERS = re.compile(
    r"<img>[^<\n]+</img>|<\|image(_?\d+|_pad|_start)?\|>|<\|vision_start\|>|<image[ _-]?\d+>|<ImageHere>"
    r"|<image_placeholder>|<start_of_image>|<IMG_CONTEXT>|<(?:IMAGE|Image)>"
)
LABELS = ("label", "answer", "solution", "ground_truth")


def normalise(entry: Any, columns: Mapping[str, str] | None = None) -> Spelled:
    """An entry of any format, as one form.

    Args:
        columns: a key that a format has -> the key that this file has in its place.

    Raises:
        DataError: no format is known by these keys, a value is not what the format has, or a key that looks like
            media, structure or masking is not one that is read.
    """
    if not isinstance(entry, dict):
        raise DataError(f"found {type(entry).__name__}, expected a JSON object with `conversations`")
    row = Row(renamed(entry, columns or {}), columns=columns)
    spelled = _choose(row)(row)
    pictures = take_pictures(row)
    spelled.images = _joined(spelled.images, pictures.images)
    spelled.turns = _with_markers(unflattened(spelled.turns), pictures, row)
    spelled.system = _system(row, spelled.system)
    spelled.id = _first(row, IDS)
    row.take(next((key for key in IDS if key in row), "id"))
    spelled.origin = str(_first(row, ORIGINS) or "")
    _read_label(row, spelled)
    spelled.aspect = row.label("aspect").strip() if "aspect" in row else ""
    texts = {turn.text.strip() for turn in spelled.turns} | {text.strip() for text in spelled.responses}
    refuse_leftovers(row, bool(spelled.images), texts)
    _refuse_lone_markers(row, spelled)
    return spelled


def _refuse_lone_markers(row: Row, spelled: Spelled) -> None:
    """A marker without anything that it could stand for."""
    asked = [turn.text.strip() for turn in spelled.turns if turn.role == "user"]
    _refuse_other_markers(asked)
    for marker in ("<video>", "<audio>"):
        if any(text.startswith(marker) or text.endswith(marker) for text in asked):
            raise DataError(
                f"a user turn holds {marker}: no model here takes video or sound; leave such records out"
            )
    if not spelled.images and any(MARKER in text for text in asked):
        empty = [
            key for key in (*row.nulls, *row.fields) if "im" in plain(key) and is_empty(row.fields.get(key))
        ]
        raise DataError(
            f"a user turn holds {MARKER} and the record has no picture"
            + (f" (`{empty[0]}` is empty)" if empty else "")
            + "; give the picture, or write the words otherwise (`<img>`, `image tag`)"
        )


def _refuse_other_markers(asked: Sequence[str]) -> None:
    """Marks of a picture as other projects write them: as words, a picture would be lost or misplaced."""
    if any(MARKER in text for text in asked):
        return
    for text in asked:
        if found := OTHER_MARKERS.search(text):
            raise DataError(
                f"a user turn holds {shown(found[0])}, another project's mark of a picture; write {MARKER} in its "
                "place and give the picture under `images`"
            )


def _first(row: Row, keys: Sequence[str]) -> str | int | float | None:
    """The first of several keys that is a text or a number."""
    found = next(
        (row.fields[key] for key in keys if isinstance(row.fields.get(key), (str, int, float))), None
    )
    return as_text(found, "the id or origin") if isinstance(found, str) else found


def _choose(row: Row) -> Reader:
    for keys, reader in FORMATS:
        if all(key in row for key in keys):
            return reader
    nulls = f" (null: {names(row.nulls)})" if row.nulls else ""
    raise DataError(
        f"found the keys {names(row.fields)}{nulls}; expected `conversations` (LLaVA), `messages` (OpenAI), "
        "`chosen` and `rejected` with `prompt` (TRL) or `question` (RLAIF-V), `prompt` and `completion` (TRL), "
        "`instruction` and `output` (LLaMA-Factory), `problem` and `answer` (EasyR1), others of data/README.md, "
        "or those of a reward benchmark; --columns gives a key another name"
    )


def _joined(inside: Sequence, outside: Sequence) -> list:
    """Pictures that lie in messages, or those of the row's keys."""
    if inside and outside and list(inside) != list(outside):
        raise DataError("the messages and the record's keys name different pictures; leave one of them out")
    return list(inside or outside)


def _with_markers(turns: list[Turn], pictures: Pictures, row: Row) -> list[Turn]:
    """Vision-LLM-Alignment's several pictures: one marker stands for all paths that commas join."""
    markers = sum(turn.text.count(MARKER) for turn in turns if turn.role == "user")
    if not pictures.joined or markers != 1:
        return turns
    all_markers = "\n".join([MARKER] * len(pictures.images))
    return [
        Turn("user", turn.text.replace(MARKER, all_markers)) if turn.role == "user" else turn
        for turn in turns
    ]


def _system(row: Row, inside: str) -> str:
    """The system prompt, of the messages or of a key."""
    found = {inside} if inside.strip() else set()
    for key in [key for key in row.fields if plain(key) in SYSTEM_KEYS]:
        text = row.text(key)
        found |= {text} if text.strip() else set()
    if len(found) > 1:
        raise DataError("the record has two system prompts that differ; leave one out")
    return found.pop() if found else ""


def _read_label(row: Row, spelled: Spelled) -> None:
    """Label and score of one answer: what it is checked against, whether it is desirable, how good it is."""
    if "kto_tag" in row:
        spelled.desirable = row.flag("kto_tag")
    left = dict(row.left())
    score = left.get("score")
    if len(spelled.responses) == 1 and not spelled.scores and isinstance(score, (int, float)):
        spelled.scores = (row.number("score"),)
    key = next((key for key in LABELS if key in left), None)
    if key is None or (key != "label" and (spelled.responses or spelled.label is not None)):
        return
    value = row.take(key)
    if isinstance(value, bool):
        if not spelled.responses:
            raise DataError(
                f"{row.what(key)} is {shown(value)} and there is no answer that it is about; write a label as a text"
            )
        spelled.desirable = value
    else:
        spelled.label = as_label(value, row.what(key))
