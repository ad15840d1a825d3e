"""Captions of pictures as facts below a question: what a reward model reads that the policy does not, so that it can
tell what is invented (LLaVA-RLHF's factual augmentation, arXiv 2309.14525)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..answers.coco_pictures import Picture as CocoPicture
from ..answers.coco_pictures import add_annotations, is_annotations, number_in
from .entries import read_entries
from .record import DataError, Picture, Turn

INTRODUCTION = "What is known of the picture:"
EXPECTED = "expected captions of COCO, or rows with `id` or `image`, and `caption` or `captions`"


def captioned(turns: Sequence[Turn], name: str, images: Sequence[Picture], files: str) -> tuple[Turn, ...]:
    """The turns, the last of which goes on with the captions of the pictures; without pictures or files as they are.

    Args:
        name: id that the record has of its own; empty: none.
        files: that hold captions, with spaces between; empty: none.

    Raises:
        DataError: a record has a picture and no caption.
    """
    if not images or not files:
        return tuple(turns)
    known = read_captions(files)
    own = [name] if name else []
    pictures = [image.name for image in images if isinstance(image, Path)]
    numbers = [number for picture in pictures if (number := number_in(picture)) is not None]
    lines = [caption for key in dict.fromkeys([*own, *pictures]) for caption in known.by_name.get(key, ())]
    lines += [caption for number in dict.fromkeys(numbers) for caption in known.by_number.get(number, ())]
    if not lines:
        names = ", ".join(map(str, [*own, *pictures, *numbers])) or "no name"
        raise DataError(f"--captions holds none of its picture ({names}); {EXPECTED}")
    facts = "\n".join([INTRODUCTION, *(f"- {line}" for line in lines)])
    return (*turns[:-1], Turn(turns[-1].role, f"{turns[-1].text}\n{facts}"))


@dataclass(frozen=True)
class Captions:
    """Those of rows and those of COCO, apart: an id may look like the number of another picture."""

    by_name: dict[str, list[str]]  # by the id of the record, or the name of the picture's file
    by_number: dict[int, list[str]]  # by COCO's number of the picture


@cache
def read_captions(files: str) -> Captions:
    found = Captions(defaultdict(list), defaultdict(list))
    for file in map(Path, files.split()):
        if not file.is_file():
            raise DataError(f"--captions {file}: no such file; {EXPECTED}")
        if file.suffix == ".json" and is_annotations(file):
            pictures: dict[int, CocoPicture] = defaultdict(CocoPicture)
            add_annotations(file, pictures)
            for number, picture in pictures.items():
                found.by_number[number] += picture.captions
            continue
        for place, row in enumerate(read_entries(str(file))):
            key = row.get("id", row.get("image")) if isinstance(row, dict) else None
            given = row.get("captions", row.get("caption")) if key is not None else None
            if not given:
                raise DataError(f"--captions {file}[{place}]: holds no caption of anything; {EXPECTED}")
            found.by_name[str(key)] += [given] if isinstance(given, str) else list(given)
    return found
