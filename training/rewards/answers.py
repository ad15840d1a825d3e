r"""Rewards of an answer that can be checked: against the record's label. What counts is the final answer: what stands
in the last `\boxed{}` or `<answer>` tags behind the reasoning, or else all of it.

Each takes a record and gives what scores a response to it.
"""

from collections.abc import Callable

from training.utils.answers.boxes import boxes, matched_iou
from training.utils.answers.final import boxed, final_answer, words
from training.utils.answers.formulas import plain, same_formula
from training.utils.answers.letters import letter
from training.utils.answers.numbers import last_number
from training.utils.data.record import DataError, Record, shown

Score = Callable[[str], float]


def exact(record: Record) -> Score:
    """1 for the label word for word, whatever the case, the blanks and the mark at its end."""
    truth = words(final_answer(label_of(record)))
    if not truth:
        raise _unreadable(record, "exact", "an answer")
    return lambda text: float(words(final_answer(text)) == truth)


def number(record: Record) -> Score:
    """1 where the last number of the answer is the label's."""
    truth = _true_number(record, "number")
    return lambda text: float(last_number(final_answer(text)) == truth)


def count(record: Record) -> Score:
    """1 for the label's number, and less by the share that the answer is off by, down to 0."""
    truth = _true_number(record, "count")

    def score(text: str) -> float:
        found = last_number(final_answer(text))
        return 0.0 if found is None else float(max(0, 1 - abs(found - truth) / max(abs(truth), 1)))

    return score


def choice(record: Record) -> Score:
    """1 where the answer gives the label's letter (letters.py), in whatever way it is written."""
    truth = letter(label_of(record))
    if not truth:
        raise _unreadable(record, "choice", "a letter from A to J")
    return lambda text: float(letter(text) == truth)


def in_box(record: Record) -> Score:
    r"""1 where the last `\boxed{}` holds the label: the same number, or the same LaTeX but for how it is set."""
    truth = final_answer(label_of(record))
    if not plain(truth):
        raise _unreadable(record, "boxed", "an answer")

    def score(text: str) -> float:
        found = boxed(text.rpartition("</think>")[2])
        return float(found is not None and same_formula(found, truth))

    return score


def iou(record: Record) -> Score:
    """How far the boxes of the answer cover those of the label (boxes.py), from 0 to 1."""
    truth = boxes(label_of(record))
    if not truth:
        raise _unreadable(record, "iou", "boxes as [x1, y1, x2, y2], in the unit that answers shall have")
    return lambda text: matched_iou(boxes(final_answer(text)), truth)


def label_of(record: Record) -> str:
    """
    Raises:
        DataError: the record has none.
    """
    if not record.label:
        raise DataError(
            f"{record.source} ({record.id}): has no label to check an answer against; expected `label`, `answer`, "
            "`solution` or `ground_truth`"
        )
    return record.label


def _true_number(record: Record, reward: str):
    truth = last_number(final_answer(label_of(record)))
    if truth is None:
        raise _unreadable(record, reward, "a number")
    return truth


def _unreadable(record: Record, reward: str, expected: str) -> DataError:
    return DataError(
        f"{record.source} ({record.id}): the label is {shown(record.label)}; --rewards {reward} expected {expected}"
    )
