"""Questions that are answered by yes or no: what POPE and AMBER's discriminative part share."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from eval.benches.question import Question
from eval.benches.scored import Answers, pairs
from eval.uncertainty import Total, share


def strict(text: str) -> str:
    """Yes or no if exactly one of the two words is there, in any case; else unknown, which is wrong."""
    found = {word for word in re.findall(r"[a-z]+", text.lower()) if word in ("yes", "no")}
    return found.pop() if len(found) == 1 else "unknown"


def read_answers(
    questions: Sequence[Question], answers: Answers, parser: Callable[[str], str], part: str
) -> list[dict]:
    """An item for each answer: what it says, as the parser reads it, and what is true.

    Args:
        part: what the question's group is called in an item.
    """
    return [
        {
            "id": question.id,
            part: question.group,
            "response": text,
            "answer": parser(text),
            "label": question.truth,
        }
        for question, text in pairs(questions, answers)
    ]


def rates(
    items: Sequence[dict], total: Total, positive: str, group: str | None = None
) -> dict[str, np.ndarray]:
    """Accuracy, precision, recall and F1 of the answers, or of those to one group, in each resample."""
    counts = np.array([group in (None, item.get("split")) for item in items])
    answer, label = (np.array([item[name] for item in items]) for name in ("answer", "label"))
    said, true = counts & (answer == positive), counts & (label == positive)
    accuracy = share(total, counts & (answer == label), counts)
    return {"accuracy": accuracy} | f1_rates(total, said & true, said, true)


def f1_rates(total: Total, hits: np.ndarray, said: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 in each resample, by what each item has: positives that were found, said, true."""
    precision, recall = (np.nan_to_num(share(total, hits, whole)) for whole in (said, true))
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    return {"precision": precision, "recall": recall, "F1": f1}
