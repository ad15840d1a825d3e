"""What is in COCO's pictures: instances and captions, from the official files in any mix.

| a file of | is known by |
|---|---|
| instances (`instances_val2014.json`) | `annotations` with `category_id` |
| captions (`captions_val2014.json`) | `annotations` with `caption` |
| both (`caps_boxes_*.jsonl`) | lines with `image`, `captions` and `instances` |
| questions (Object HalBench) | lines with `image_id`, and `question` or `prompt` |
"""

import base64
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from eval.benches.files import entries, files
from eval.benches.question import Question
from training.utils.answers.coco_pictures import Picture, add_annotations, image_id, is_annotations
from training.utils.data.images import open_image
from training.utils.data.record import DataError

PROMPT = "Please describe this image in detail."  # where no file asks anything


def load(paths: Sequence[Path]) -> list[Question]:
    """The questions of the files, or one for each picture that has truth; `truth` is a Picture.

    Raises:
        DataError: a file is of no known kind, or a question's picture has no truth.
    """
    pictures: dict[int, Picture] = defaultdict(Picture)
    asked: list[tuple[str, dict]] = []
    for file in files(paths):
        if is_annotations(file):
            add_annotations(file, pictures)
            continue
        for _, index, entry in entries([file]):
            if {"image", "captions", "instances"} <= entry.keys():
                picture = pictures[image_id(entry["image"])]
                picture.file = entry["image"]
                picture.categories |= {instance["category"] for instance in entry["instances"]}
                picture.captions += entry["captions"]
            elif "image_id" in entry and {"question", "prompt"} & entry.keys():
                asked.append((f"{file}[{index}]", entry))
            else:
                raise DataError(
                    f"{file}[{index}]: found {', '.join(sorted(entry))}; expected instances or captions of COCO, "
                    "caps_boxes, or questions with `image_id` and `question`"
                )
    if asked:
        return [_question(where, entry, pictures) for where, entry in asked]
    return [
        Question(str(number), PROMPT, (picture.file,), picture)
        for number, picture in sorted(pictures.items())
    ]


def _question(where: str, entry: dict, pictures: dict[int, Picture]) -> Question:
    number = int(entry["image_id"])
    if number not in pictures:
        raise DataError(
            f"{where}: image_id {number} has no instances and captions; give COCO's annotations of its split too"
        )
    picture = pictures[number]
    image = picture.file or f"COCO_val2014_{number:012d}.jpg"
    if isinstance(given := entry.get("image"), str):
        image = (
            _decoded(given, where) if len(given) > 1000 else given
        )  # HalBench holds its pictures in base64
    return Question(
        str(entry.get("question_id", number)), entry.get("question", entry.get("prompt")), (image,), picture
    )


def _decoded(text: str, where: str) -> Image.Image:
    try:
        return open_image(base64.b64decode(text))
    except ValueError as error:
        raise DataError(f"{where}: `image` is no picture in base64 ({error})") from None
