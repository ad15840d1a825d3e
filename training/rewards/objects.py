"""Rewards of descriptions: the objects that a response names, against those that its picture has.

The truth is of COCO, with CHAIR's synonyms (arXiv 1809.02156), or of a demo world, whose names are its own. Of a
response with mentions M and a picture with classes G:

    chair   - |{m in M : m not in G}| / |M|      what it invents, 0 at best; 0 too where it names nothing
    recall  |set(M) and G| / |G|                 what it covers, 1 at best, and where there is nothing
    amber   their sum: Cover less CHAIR, by AMBER's definitions (arXiv 2311.07397)
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from training.rewards.answers import Score
from training.utils.answers.coco_objects import read_vocabulary
from training.utils.answers.coco_pictures import (
    Picture,
    add_annotations,
    is_annotations,
    number_in,
    true_classes,
)
from training.utils.answers.mentions import objects_in
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError, Record

Measure = Callable[[list[str], set[str]], float]  # of the classes that are named, and of those that are there


@dataclass(frozen=True)
class Truth:
    """What pictures hold, and how their objects are named."""

    there: dict[str, set[str]]  # classes, by the id of the record or the number of its picture
    mentions: Callable[[str], list[str]]  # classes that a text names, each as often as it is named
    by_picture: bool  # of COCO: what is there is told by the picture's number alone

    def of(self, record: Record) -> set[str]:
        """
        Raises:
            DataError: it knows nothing of the record's picture.
        """
        names = [*self._names_of(record)]
        found = next((self.there[name] for name in names if name in self.there), None)
        if found is None:
            tried = ", ".join(names) or "no name"
            raise DataError(
                f"{record.source} ({record.id}): --truth says nothing of its picture ({tried}); expected "
                "instances or captions of each picture, by the number in its name, or a scene of this id"
            )
        return found

    def _names_of(self, record: Record) -> Iterator[str]:
        """What its truth may stand under. An id of its own may look like a number of COCO: it counts there for no
        record whose picture is a file."""
        files = [image for image in record.images if isinstance(image, Path)]
        if record.is_named and not (self.by_picture and files):
            yield record.id
        if len(record.images) == 1 and files:
            number = number_in(files[0].name)
            yield files[0].stem if number is None else str(number)


def chair(named: list[str], there: set[str]) -> float:
    return -sum(name not in there for name in named) / max(len(named), 1)


def recall(named: list[str], there: set[str]) -> float:
    return len(there & {*named}) / len(there) if there else 1.0


def amber(named: list[str], there: set[str]) -> float:
    return chair(named, there) + recall(named, there)


def against(truth: Truth, measure: Measure) -> Callable[[Record], Score]:
    """The measure of the objects that a response names, by those of the record's picture."""

    def of_record(record: Record) -> Score:
        there = truth.of(record)
        return lambda text: measure(truth.mentions(text), there)

    return of_record


@cache
def read_truth(truth: str, synonyms: str) -> Truth:
    """The truth of files: annotations of COCO, or a demo world's `truth_*.json`.

    Args:
        truth: names of the files, with spaces between.
        synonyms: CHAIR's file of them; empty: none.

    Raises:
        DataError: a file is missing or of another kind.
    """
    files = [Path(name) for name in truth.split()]
    for file in files:
        if not file.is_file():
            raise DataError(f"--truth {file}: no such file; expected annotations of COCO or a truth_*.json")
    if all(is_annotations(file) for file in files):
        return _of_coco(files, synonyms)
    return _of_worlds(files)


def _of_coco(files: list[Path], synonyms: str) -> Truth:
    if not synonyms:
        raise DataError(
            f"--truth {files[0]}: of COCO; expected CHAIR's --synonyms too, which say what is named"
        )
    vocabulary = read_vocabulary(Path(synonyms))
    pictures: dict[int, Picture] = defaultdict(Picture)
    for file in files:
        add_annotations(file, pictures)
    there = {str(number): true_classes(picture, vocabulary) for number, picture in pictures.items()}
    return Truth(there, lambda text: [name for _, name in vocabulary.mentions(text)], by_picture=True)


def _of_worlds(files: list[Path]) -> Truth:
    worlds = [read_json(file, "objects", "scenes") for file in files]
    names = sorted({name for world in worlds for name in world["objects"]})
    there = {scene["id"]: set(scene["objects"]) for world in worlds for scene in world["scenes"]}
    return Truth(there, lambda text: objects_in(text, names), by_picture=False)
