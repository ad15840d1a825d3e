"""Questions that are answered by yes or no: what POPE and AMBER's discriminative part share."""

import re
from collections.abc import Callable, Sequence

from eval.benches.question import Question
from eval.benches.scored import Answers, pairs


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
