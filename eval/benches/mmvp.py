"""MMVP (arXiv 2401.06209): pairs of pictures that CLIP takes for one, and a question that tells them apart.

    accuracy = pairs with two right answers / pairs        question_accuracy = right answers / questions

The official `scripts/gpt_grader.py` of github.com/tsb0601/MMVP counts the same pairs, but a language model decides
whether an answer is right. Here the letter of the answer does, in any wording.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.benches.files import field, files
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, num_unread, percent, read_groups, whole_groups
from eval.uncertainty import Total, average
from training.utils.answers.letters import letter
from training.utils.data.record import DataError

PICTURES = "MMVP Images"


def load(paths: Sequence[Path]) -> list[Question]:
    """The questions of `Questions.csv`; two that follow each other are a pair, and `n.jpg` belongs to the n-th.

    Raises:
        DataError: a column is missing, a true answer is no letter, or a question has no partner.
    """
    questions = []
    for file in files(paths, (".csv",)):
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened))
        if len(rows) % 2:
            raise DataError(f"{file}: {len(rows)} questions; expected pairs")
        for number, row in enumerate(rows, 1):
            where = f"{file}[{number - 1}]"
            asked = f"{field(row, 'Question', where)} {field(row, 'Options', where)}"
            truth = letter(field(row, "Correct Answer", where))
            if not truth:
                raise DataError(f"{where}: Correct Answer {row['Correct Answer']!r}; expected a letter")
            image = f"{PICTURES}/{number}.jpg"
            questions.append(Question(str(number), asked, (image,), truth, f"pair {(number + 1) // 2}"))
    return questions


def score(questions: Sequence[Question], answers: Answers) -> Scored:
    """Accuracy over pairs whose questions were both answered; an answer without a letter is wrong."""
    groups, warnings = whole_groups(questions, answers, "pairs")
    per_item = read_groups(groups, lambda text, _: letter(text))
    metrics = {
        "accuracy": percent(sum(all(item["right"]) for item in per_item), len(per_item)),
        "question_accuracy": percent(sum(sum(item["right"]) for item in per_item), 2 * len(per_item)),
    }
    variant = "MMVP, both questions of a pair right; the letter in any wording, unread is wrong"
    return Scored(metrics, per_item, variant, parse_failures=num_unread(per_item), warnings=warnings)


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample of pairs."""
    return {
        "accuracy": 100 * average(total, [all(item["right"]) for item in items]),
        "question_accuracy": 100 * average(total, [sum(item["right"]) / 2 for item in items]),
    }
