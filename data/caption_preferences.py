"""Visual preferences as textual ones: a caption in the place of each image (phase 2 of RoVRM, arXiv 2408.12109).

    python -m data.caption_preferences --preferences pairs.json --captions human.json written.json \\
        --output captions.json

A captions file is a JSON object from the path of an image, or the id of a record with one image, to its caption:

    {"coco/train2017/000000000009.jpg": "Closeup of bins of food.", "question-7": "A dog on a beach."}

or COCO's captions_*.json, of whose captions an image's first one is taken. It is known by the name of its file, also
where a record has a folder before it, or `COCO_val2014_` before its number.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from training.utils.config.flags import flag
from training.utils.data.entries import read_entries
from training.utils.data.formats import Spelled, normalise
from training.utils.data.record import MARKER, DataError
from training.utils.process.command import run_command


@dataclass(frozen=True)
class CaptionConfig:
    preferences: str = field(metadata={"help": "Ranked answers to images, in any format of data/README.md."})
    captions: list[str] = field(
        metadata={"help": "Captions files; where several know an image, the first one counts."}
    )
    output: str = flag(help="LLaVA-format file of text-only records to write.", writes="file")


def captioned(spelled: Spelled, captions: Mapping[str, str]) -> dict:
    """The record without images: each marker replaced by a caption, or all captions in front of the first turn.

    Raises:
        DataError: an image has no caption, or markers and images differ in number.
    """
    texts = []
    for image in spelled.images:
        keys = [image] if isinstance(image, str) else []
        keys += [str(spelled.id)] if len(spelled.images) == 1 else []
        found = [captions[key] for key in (*keys, *map(coco_key, keys[:1])) if key in captions]
        if not found:
            raise DataError(
                f"no caption for {' or '.join(keys) or 'an image without a path'}; add it to a file"
            )
        texts.append(found[0])
    values = [turn.text for turn in spelled.turns]
    markers = sum(value.count(MARKER) for value in values)
    if markers == 0:
        values[0] = "".join(f"{MARKER}\n" for _ in texts) + values[0]
    elif markers != len(texts):
        raise DataError(
            f"found {markers} {MARKER} marker(s) for {len(texts)} image(s); expected one for each"
        )
    remaining = iter(texts)
    for place, value in enumerate(values):
        first, *others = value.split(MARKER)
        values[place] = first + "".join(next(remaining) + other for other in others)
    turns = [{"from": ("human", "gpt")[i % 2], "value": value} for i, value in enumerate(values)]
    turns.append({"from": "gpt", "value": spelled.responses})
    more = {
        "system": spelled.system,
        "scores": spelled.scores and list(spelled.scores),
        "label": spelled.label,
    }
    kept = {key: value for key, value in more.items() if value}
    return {"id": f"{spelled.id}-captioned", "conversations": turns} | kept


def read_captions(file: Path) -> dict[str, str]:
    """The captions of a file, by image or record.

    Raises:
        DataError: it does not parse, or holds something else.
    """
    try:
        read = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"--captions {file}: {getattr(error, 'strerror', None) or error}") from None
    if isinstance(read, dict) and isinstance(read.get("annotations"), list):
        return _of_coco(read, file)
    if not isinstance(read, dict) or not all(isinstance(caption, str) for caption in read.values()):
        raise DataError(
            f"--captions {file}: expected an object from the path of an image, or the id of a record, to its "
            "caption, or COCO's captions file"
        )
    return read


def _of_coco(read: Mapping[str, list[dict]], file: Path) -> dict[str, str]:
    try:
        names = {image["id"]: coco_key(image["file_name"]) for image in read["images"]}
        return {names[each["image_id"]]: each["caption"].strip() for each in reversed(read["annotations"])}
    except (KeyError, TypeError) as error:
        raise DataError(f"--captions {file}: no captions file of COCO, it lacks {error}") from None


def coco_key(image: str) -> str:
    """The key of a caption of COCO: what its releases have in common for an image, and no path of another file is."""
    return "COCO " + re.sub(r"^COCO_(?:train|val|test)20\d\d_", "", Path(image).name)


def main(config: CaptionConfig) -> None:
    captions: dict[str, str] = {}
    for file in reversed(config.captions):
        captions |= read_captions(Path(file))
    records = []
    for index, entry in enumerate(read_entries(Path(config.preferences))):
        try:
            records.append(captioned(normalise(entry), captions))
        except DataError as error:
            name = entry.get("id") if isinstance(entry, dict) else None
            raise DataError(f"{config.preferences}[{index}] id={name}: {error}") from None
    Path(config.output).write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n")
    print(f"{config.output}: {len(records)} records")


if __name__ == "__main__":
    run_command(main, CaptionConfig)
