"""AMBER (arXiv 2311.07397): questions from the official `data` folder, and the score of both of its parts.

AMBER score = (100 - CHAIR + F1) / 2     CHAIR of the descriptions, F1 of all yes-no questions
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from eval.benches import amber_discriminative, amber_generative
from eval.benches.amber_generative import Annotation, Associations
from eval.benches.files import field, find_root, read_json
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored
from eval.uncertainty import Total
from training.utils.data.record import DataError

GENERATIVE = "generative"


def locate(path: Path) -> tuple[Path, Path]:
    """The folder with the annotations and the file of queries, from either, or from AMBER's repository."""
    if path.is_dir():
        path = find_root(path, ["annotations.json"], ("data",))
        inside = path / "query" / "query_all.json"
        return path, inside if inside.is_file() else path / "query_all.json"
    folder = next((f for f in (path.parent, path.parent.parent) if (f / "annotations.json").is_file()), None)
    if folder is None:
        raise DataError(f"{path}: annotations.json lies neither beside it nor a folder up; expected it there")
    return folder, path


def load(paths: Sequence[Path], kinds: tuple[bool, ...] = (True, False)) -> list[Question]:
    """Questions from AMBER's `data` folder, or from one of its query files.

    Args:
        kinds: whether to take those that are generative: True, False or both.
    """
    questions = []
    for folder, file in map(locate, paths):
        notes = {note["id"]: note for note in read_json(folder / "annotations.json")}
        associations = read_associations(folder) if True in kinds else None
        for index, query in enumerate(read_json(file)):
            where = f"{file}[{index}]"
            number = field(query, "id", where)
            if number not in notes:
                raise DataError(f"{where}: id {number} is not in {folder / 'annotations.json'}")
            note = notes[number]
            is_generative = note["type"] == GENERATIVE
            if is_generative not in kinds:
                continue
            truth = note["truth"]
            if is_generative:
                truth = Annotation(tuple(truth), tuple(note["hallu"]), associations)
            images = (field(query, "image", where),)
            questions.append(Question(str(number), query["query"], images, truth, note["type"]))
    return questions


load_generative = partial(load, kinds=(True,))
load_discriminative = partial(load, kinds=(False,))


def read_associations(folder: Path) -> Associations:
    safe_words = folder / "safe_words.txt"
    if not safe_words.is_file():
        raise DataError(f"{safe_words}: no such file; expected AMBER's whole `data` folder")
    words = safe_words.read_text(encoding="utf-8-sig").splitlines()
    related = {word: tuple(others) for word, others in read_json(folder / "relation.json").items()}
    return Associations(related, frozenset(filter(None, map(str.strip, words))))


def score(
    questions: Sequence[Question],
    answers: Answers,
    parser: str = "first",
    similarity: str = "exact",
    nouns: str = "vocabulary",
) -> Scored:
    """The figures of both parts, and the AMBER score where both were answered."""
    described = [question for question in questions if question.group == GENERATIVE]
    asked = [question for question in questions if question.group != GENERATIVE]
    generative = amber_generative.score(described, answers, similarity, nouns)
    discriminative = amber_discriminative.score(asked, answers, parser)
    metrics = generative.metrics | discriminative.metrics
    if generative.n and discriminative.n:
        metrics["AMBER"] = (100 - metrics["CHAIR"] + metrics["F1"]) / 2
    return Scored(
        metrics,
        generative.per_item + discriminative.per_item,
        f"{generative.variant}; {discriminative.variant}",
        discriminative.groups,
        discriminative.parse_failures,
        generative.warnings,
    )


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures of both parts in each resample, without rounding."""
    described = np.array(["named" in item for item in items])
    found: dict[str, np.ndarray] = {}
    for part, counts in ((amber_generative, described), (amber_discriminative, ~described)):
        if counts.any():
            found |= part.rates(
                [item for item, is_in in zip(items, counts, strict=True) if is_in], _of(total, counts)
            )
    if {"CHAIR", "F1"} <= found.keys():
        found["AMBER"] = (100 - found["CHAIR"] + found["F1"]) / 2
    return found


def _of(total: Total, counts: np.ndarray) -> Total:
    """Sums over some of the items."""

    def of_part(values: np.ndarray) -> np.ndarray:
        whole = np.zeros(len(counts))
        whole[counts] = values
        return total(whole)

    return of_part
