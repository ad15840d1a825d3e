"""Accuracy on any file whose records have a checkable answer: a letter, a number, or its words."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eval.benches.files import entries, field
from eval.benches.question import Question, from_llava
from eval.benches.scored import Answers, Scored, pairs, percent
from eval.uncertainty import Total, average, share
from training.utils.answers.final import final_answer, words
from training.utils.answers.letters import letter
from training.utils.answers.numbers import last_number
from training.utils.data.formats import normalise
from training.utils.data.record import DataError

WITH_IMAGE, TEXT = "IMG", "TXT"


def load(paths: Sequence[Path]) -> list[Question]:
    return [question(entry, f"{file}[{index}]", index) for file, index, entry in entries(paths)]


def question(entry: dict, where: str, index: int) -> Question:
    """A record of LLaVA's format with a `label`, or of R1-V's or EasyR1's with the answer to its `problem`."""
    if "problem" in entry and "label" not in entry:
        entry = entry | {"label": checkable_answer(entry, where)}
    label = str(field(entry, "label", where)).strip()
    found = from_llava(entry, where, index, label)
    return replace(found, group=WITH_IMAGE if found.images else TEXT)


def checkable_answer(entry: dict, where: str) -> str:
    try:
        return normalise(entry).label
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def score(
    questions: Sequence[Question], answers: Answers, read: Callable[[str], str], variant: str
) -> Scored:
    """Accuracy, of all and of the questions with and without a picture.

    Args:
        read: what an answer says, and a label; empty where it can't be read, which is wrong.
    """
    per_item, blank = [], 0
    for question, text in pairs(questions, answers):
        said, label = read(text), read(question.truth)
        blank += label == ""
        item = {"id": question.id, "kind": question.group, "response": text, "answer": said}
        per_item.append(item | {"label": question.truth, "right": said != "" and said == label})
    groups = {}
    for kind in (WITH_IMAGE, TEXT):
        if items := [item for item in per_item if item["kind"] == kind]:
            groups[kind] = {"accuracy": accuracy(items), "n": len(items)}
    unread = sum(item["answer"] == "" for item in per_item)
    warnings = [f"{blank} labels can't be read: no answer there is right; see the file of truth"] * bool(
        blank
    )
    return Scored({"accuracy": accuracy(per_item)}, per_item, variant, groups, unread, warnings)


def accuracy(items: Sequence[dict]) -> float:
    return percent(sum(item["right"] for item in items), len(items))


def score_letters(questions: Sequence[Question], answers: Answers) -> Scored:
    return score(questions, answers, letter, "the letter of the answer against the label's; unread is wrong")


def score_numbers(questions: Sequence[Question], answers: Answers) -> Scored:
    variant = "the last number of the final answer against the label's; unread is wrong"
    return score(questions, answers, number, variant)


def number(text: str) -> str:
    """The number that the rewards `number` and `count` read; empty without one."""
    found = last_number(final_answer(text))
    return "" if found is None else f"{found}"


def score_words(questions: Sequence[Question], answers: Answers) -> Scored:
    return score(
        questions, answers, words, "the whole answer against the label, without case and its last mark"
    )


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """Accuracy in each resample, of all and of the questions with a picture."""
    right = np.array([item["right"] for item in items])
    with_image = np.array([item["kind"] == WITH_IMAGE for item in items])
    return {
        "accuracy": 100 * average(total, right),
        "IMG_accuracy": share(total, right & with_image, with_image),
    }
