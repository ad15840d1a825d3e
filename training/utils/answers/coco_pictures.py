"""What COCO says of its pictures: the classes of their instances, and their captions, from its annotation files."""

import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from ..data.json_text import read_json
from ..data.record import DataError
from .coco_objects import Vocabulary


@dataclass
class Picture:
    """What COCO says of a picture."""

    file: str = ""
    categories: set[str] = field(default_factory=set)
    captions: list[str] = field(default_factory=list)


def number_in(name: str) -> int | None:
    """The last number in the name of a picture's file; none without one."""
    numbers = re.findall(r"\d+", Path(name).stem)
    return int(numbers[-1]) if numbers else None


def image_id(name: str) -> int:
    """The number of a picture, from its name: `COCO_val2014_000000310196.jpg` is 310196.

    Raises:
        DataError: there is none.
    """
    number = number_in(name)
    if number is None:
        raise DataError(f"image {name!r}: its name ends in no number, which is COCO's id of the picture")
    return number


def is_annotations(file: Path) -> bool:
    """Whether a file is one of COCO's objects rather than lines or a list of entries, by its first key."""
    with file.open(encoding="utf-8-sig") as opened:
        start = opened.read(100)
    return re.match(r'\s*\{\s*"(info|images|licenses|annotations|categories|type)"', start) is not None


def add_annotations(file: Path, pictures: MutableMapping[int, Picture]) -> None:
    """Adds what a file of COCO says to the pictures, by their numbers."""
    content = read_json(file, "annotations")
    names = {category["id"]: category["name"] for category in content.get("categories", ())}
    for picture in content.get("images", ()):
        pictures[picture["id"]].file = picture["file_name"]
    for annotation in content["annotations"]:
        picture = pictures[annotation["image_id"]]
        if "caption" in annotation:
            picture.captions.append(annotation["caption"])
        else:
            picture.categories.add(names[annotation["category_id"]])


def true_classes(picture: Picture, synonyms: Vocabulary) -> set[str]:
    """Classes of the instances of a picture, and of what its reference captions name.

    Raises:
        DataError: a category of COCO is no class of the synonyms.
    """
    unknown = picture.categories - synonyms.class_of.keys()
    if unknown:
        raise DataError(f"--synonyms: lacks {', '.join(sorted(unknown))}, which COCO's instances have")
    named = {name for caption in picture.captions for _, name in synonyms.mentions(caption)}
    return {synonyms.class_of[name] for name in picture.categories} | named
