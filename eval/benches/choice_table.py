"""Multiple choice in the tables of MMBench (arXiv 2307.06281), MMStar (arXiv 2403.20330) and their like.

A TSV file with the columns `index`, `question`, `A`, `B`, ..., `answer`, and `image` in base64; `hint` and `category`
may be there. A picture may stand as the index of the row that holds it. The prompt is VLMEvalKit's. Each question is
asked once: figures of MMBench's circular evaluation, or with a language model that reads the answers, are others.
"""

import base64
import csv
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eval.benches import choices
from eval.benches.files import field, files
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored
from training.utils.answers.letters import letter
from training.utils.data.record import DataError

LETTERS = "ABCDEFGHIJ"
INSTRUCTION = "Please select the correct answer from the options above."


def load(paths: Sequence[Path]) -> list[Question]:
    """
    Raises:
        DataError: a column is missing, a picture is not there, or the answer is no option.
    """
    questions = []
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a picture is one field
    for file in files(paths, (".tsv",)):
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened, delimiter="\t"))
        pictures = {row.get("index"): row.get("image") or "" for row in rows}
        questions += [_question(row, f"{file}[{number}]", pictures) for number, row in enumerate(rows)]
    return questions


def _question(row: dict, where: str, pictures: dict) -> Question:
    name, asked, truth = (field(row, column, where) for column in ("index", "question", "answer"))
    options = [f"{mark}. {row[mark]}" for mark in LETTERS if row.get(mark) not in (None, "", "nan")]
    if truth not in [option[0] for option in options]:
        raise DataError(f"{where}: answer {truth!r} is none of its {len(options)} options; expected a letter")
    lines = [f"Hint: {row['hint']}"] if row.get("hint") not in (None, "", "nan") else []
    lines += [f"Question: {asked}", "Options:", *options, INSTRUCTION]
    image = row.get("image") or ""
    image = pictures.get(image, image) if len(image) <= 64 else image
    try:
        content = base64.b64decode(image, validate=True)
    except ValueError:
        content = b""
    if not content:
        raise DataError(f"{where}: `image` is neither a picture in base64 nor the index of a row with one")
    return Question(name, "\n".join(lines), (content,), truth, row.get("category") or choices.WITH_IMAGE)


def score(questions: Sequence[Question], answers: Answers) -> Scored:
    """Accuracy over all questions, and of each category."""
    variant = "multiple choice, each question asked once; the letter in any wording, unread is wrong"
    scored = choices.score(questions, answers, letter, variant)
    kinds = dict.fromkeys(item["kind"] for item in scored.per_item)
    groups = {}
    for kind in kinds:
        items = [item for item in scored.per_item if item["kind"] == kind]
        groups[kind] = {"accuracy": choices.accuracy(items), "n": len(items)}
    return replace(scored, groups=groups)
