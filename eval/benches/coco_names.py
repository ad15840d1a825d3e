"""Pictures by whatever name they have on disk: COCO's by any of theirs, others also a folder deeper.

The number of a picture is the same in all releases; the names are not: `000000000042.jpg` (2017, and many files of
questions) or `COCO_val2014_000000000042.jpg` (2014), in one folder or in a folder of the split.
"""

import os
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from eval.benches.question import Question

NAME = re.compile(r"(?:COCO_(?:train|val|test)2014_)?(\d{12}\.jpg)")
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
SPLITS = ("val2014", "train2014", "test2014", "val2017", "train2017")


def on_disk(name: str, folder: Path) -> str:
    """The name that a picture has in a folder; the given one where it is there, or none is.

    One that is not COCO's may lie a folder deeper, as archives unpack, where the folder holds no picture itself.

    Args:
        name: as the official file has it, from the folder on. In a folder that is none of COCO's it may be another
            picture of that name, so it is not looked for.
    """
    if (folder / name).is_file():
        return name
    path = Path(name)
    found = NAME.fullmatch(path.name)
    if not found or not set(path.parent.parts) <= {"coco", *SPLITS}:
        deeper = [f"{place}/{name}" for place in archives(folder) if (folder / place / name).is_file()]
        return deeper[0] if len(deeper) == 1 else name
    names = [found[1], *(f"COCO_{split}_{found[1]}" for split in SPLITS[:3])]
    places = [path.parent, Path(), *map(Path, SPLITS)]
    candidates = (place / other for place in places for other in names)
    return next((str(other) for other in candidates if (folder / other).is_file()), name)


@cache
def archives(folder: Path) -> tuple[str, ...]:
    """The folders in a folder without pictures of its own."""
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as found:
        held = [entry for entry in found if not entry.name.startswith(".")]
    if any(entry.name.lower().endswith(PICTURES) for entry in held):
        return ()
    return tuple(entry.name for entry in held if entry.is_dir())


def with_pictures_of(question: Question, folder: Path) -> Question:
    """The question, with its pictures by their names in a folder."""
    names = (on_disk(image, folder) if isinstance(image, str) else image for image in question.images)
    return replace(question, images=tuple(names))
