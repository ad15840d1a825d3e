"""COCO's pictures by whatever name they have on disk.

The number of a picture is the same in all releases; the names are not: `000000000042.jpg` (2017, and many files of
questions) or `COCO_val2014_000000000042.jpg` (2014), in one folder or in a folder of the split.
"""

import re
from dataclasses import replace
from pathlib import Path

from eval.benches.question import Question

NAME = re.compile(r"(?:COCO_(?:train|val|test)2014_)?(\d{12}\.jpg)")
SPLITS = ("val2014", "train2014", "test2014", "val2017", "train2017")


def on_disk(name: str, folder: Path) -> str:
    """The name that a picture of COCO has in a folder; the given one where it is there, is not COCO's, or none is.

    Args:
        name: as the official file has it, from the folder on. In a folder that is none of COCO's it may be another
            picture of that name, so it is not looked for.
    """
    path = Path(name)
    found = NAME.fullmatch(path.name)
    if not found or not set(path.parent.parts) <= {"coco", *SPLITS} or (folder / name).is_file():
        return name
    names = [found[1], *(f"COCO_{split}_{found[1]}" for split in SPLITS[:3])]
    places = [path.parent, Path(), *map(Path, SPLITS)]
    candidates = (place / other for place in places for other in names)
    return next((str(other) for other in candidates if (folder / other).is_file()), name)


def with_pictures_of(question: Question, folder: Path) -> Question:
    """The question, with its pictures by their names in a folder."""
    names = (on_disk(image, folder) if isinstance(image, str) else image for image in question.images)
    return replace(question, images=tuple(names))
