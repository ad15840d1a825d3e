"""NaturalBench (arXiv 2410.14669): two pictures and two questions, so that each answer is right for one picture only.

Of a group's four answers, by the official `naturalbench_vqa.py` of github.com/Baiqi-Li/NaturalBench:

    Acc      share of answers that are right
    Q_Acc    share of questions that are right on both pictures
    I_Acc    share of pictures on which both questions are right
    G_Acc    share of groups that are right throughout
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.benches.files import field, files
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, num_unread, percent, read_groups, whole_groups
from eval.uncertainty import Total, average
from training.utils.data.entries import read_entries
from training.utils.data.record import DataError

SUFFIXES = {
    "yes_no": "Please answer Yes or No.",
    "multiple_choice": "Please output the letter corresponding to the correct option.",
}
WORDS = {"yes_no": ("yes", "no"), "multiple_choice": ("a", "b")}
PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))  # question, picture
SAME_QUESTION, SAME_IMAGE = ((0, 1), (2, 3)), ((0, 2), (1, 3))  # among the four answers


def load(paths: Sequence[Path]) -> list[Question]:
    """Four questions of each row of the parquet files; `truth` is the kind of the question and the right word."""
    questions = []
    for file in files(paths, (".parquet",)):
        for index, row in enumerate(read_entries(file)):
            where = f"{file}[{index}]"
            kind = field(row, "Question Type", where)
            if kind not in SUFFIXES:
                raise DataError(f"{where}: Question Type {kind!r}; expected one of {', '.join(SUFFIXES)}")
            group = str(row.get("Index", index))
            for question, image in PLACES:
                asked = field(row, f"Question_{question}", where) + SUFFIXES[kind]
                truth = str(field(row, f"Image_{image}_Question_{question}", where)).strip().lower()
                name = f"{group}-q{question}-i{image}"
                questions.append(
                    Question(
                        name, asked, (_picture(field(row, f"Image_{image}", where)),), (kind, truth), group
                    )
                )
    return questions


def _picture(image: Any) -> Any:
    return image["bytes"] if isinstance(image, dict) and image.get("bytes") else image


def read(text: str, kind: str) -> str:
    """Which of the two words comes first, in any case; none if neither is there."""
    found = [
        (at.start(), word) for word in WORDS[kind] if (at := re.search(rf"\b{word}\b", text, re.IGNORECASE))
    ]
    return min(found)[1] if found else ""


def score(questions: Sequence[Question], answers: Answers) -> Scored:
    """The four scores over groups whose questions were all answered; an answer that can't be read is wrong."""
    groups, warnings = whole_groups(questions, answers)
    per_item = read_groups(
        groups, lambda text, question: read(text, question.truth[0]), lambda question: question.truth[1]
    )
    parts = [_scores(item["right"]) for item in per_item]
    metrics = (
        {name: percent(sum(part[name] for part in parts), len(parts)) for name in parts[0]} if parts else {}
    )
    variant = "NaturalBench, the first of the two words counts; over whole groups"
    return Scored(metrics, per_item, variant, parse_failures=num_unread(per_item), warnings=warnings)


def _scores(right: Sequence[bool]) -> dict[str, float]:
    """Of one group, each from 0 to 1."""
    return {
        "G_Acc": float(all(right)),
        "Q_Acc": sum(right[a] and right[b] for a, b in SAME_QUESTION) / 2,
        "I_Acc": sum(right[a] and right[b] for a, b in SAME_IMAGE) / 2,
        "Acc": sum(right) / 4,
    }


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample of groups."""
    parts = [_scores(item["right"]) for item in items]
    return {name: 100 * average(total, [part[name] for part in parts]) for name in parts[0]}
