"""POPEv2 (arXiv 2508.04567): is an object there, on a picture and on the same picture without that object.

The figures are POPE's over all answers, `yes` positive; the accuracy on either kind of picture; and the share of
pairs that are right on both. Its authors give no scorer: answers are read as POPE reads them (eval/benches/pope.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.benches import pope
from eval.benches.files import field, files
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, percent, whole_groups
from eval.benches.yes_no import f1_rates
from eval.uncertainty import Total, average, share
from training.utils.data.entries import read_entries
from training.utils.data.record import DataError

KINDS = {"yes": "normal", "no": "counterfactual"}  # of a picture, by what is true of it


def load(paths: Sequence[Path]) -> list[Question]:
    """Questions of the parquet of Hugging Face, with its pictures, or of `annotations.json`; a pair is a group.

    Raises:
        DataError: a column is missing, a label is neither yes nor no, or a question has no partner.
    """
    questions: dict[str, list[Question]] = {}
    for file in files(paths, (".parquet", ".json")):
        for index, row in enumerate(read_entries(file)):
            where = f"{file}[{index}]"
            for question in _of_row(row, where) if "normal_image" in row else [_of_annotation(row, where)]:
                questions.setdefault(question.group, []).append(question)
    for name, pair in questions.items():
        if sorted(question.truth for question in pair) != ["no", "yes"]:
            found = ", ".join(question.truth for question in pair)
            raise DataError(f"{name}: labels {found}; expected a picture with the object and one without")
    return [question for pair in questions.values() for question in pair]


def _of_row(row: dict, where: str) -> list[Question]:
    pair = str(field(row, "example_id", where))
    asked = field(row, "question", where)
    return [
        _question(pair, asked, field(row, f"{kind}_image", where), field(row, f"{kind}_label", where), where)
        for kind in KINDS.values()
    ]


def _of_annotation(row: dict, where: str) -> Question:
    pair = f"{field(row, 'image_id', where)}/{field(row, 'target_object', where)}"
    image = field(row, "image_name", where).lstrip("/")
    return _question(pair, field(row, "query", where), image, field(row, "label", where), where)


def _question(pair: str, asked: str, image: Any, label: str, where: str) -> Question:
    truth = str(label).strip().lower()
    if truth not in KINDS:
        raise DataError(f"{where}: label {label!r}, expected yes or no")
    content = image["bytes"] if isinstance(image, dict) else image
    return Question(f"{pair}/{KINDS[truth]}", asked, (content,), truth, pair)


def score(questions: Sequence[Question], answers: Answers, parser: str = "official") -> Scored:
    """POPE's figures over pairs whose questions were both answered, and the share of pairs that are right."""
    pairs, warnings = whole_groups(questions, answers, "pairs")
    per_item = [
        {
            "id": name,
            "responses": list(texts),
            "answers": [pope.PARSERS[parser](text) for text in texts],
            "labels": [question.truth for question in asked],
        }
        for name, asked, texts in pairs
    ]
    said = [
        {"answer": answer, "label": label}
        for item in per_item
        for answer, label in zip(item["answers"], item["labels"], strict=True)
    ]
    groups = {}
    for truth, kind in KINDS.items():
        right = sum(one["answer"] == truth for one in said if one["label"] == truth)
        groups[kind] = {"accuracy": percent(right, len(per_item)), "n": len(per_item)}
    figures = pope.figures(said)
    whole = sum(item["answers"] == item["labels"] for item in per_item)
    metrics = {"pair_accuracy": percent(whole, len(per_item))} | {
        name: value for name, value in figures.items() if name != "n"
    }
    unclear = sum(pope.strict(text) == "unknown" for item in per_item for text in item["responses"])
    if unclear:
        warnings.append(f"{unclear} of {len(said)} answers say neither yes nor no, or both")
    variant = f"POPEv2 with POPE's {parser} parser; over whole pairs"
    return Scored(metrics, per_item, variant, groups, unclear, warnings)


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample of pairs."""

    def count(answer: str, label: str) -> np.ndarray:
        pairs = (zip(item["answers"], item["labels"], strict=True) for item in items)
        return np.array([sum(pair == (answer, label) for pair in of) for of in pairs])

    true_yes, false_yes = count("yes", "yes"), count("yes", "no")
    right = true_yes + count("no", "no")
    each = np.ones(len(items))
    return {
        "pair_accuracy": 100 * average(total, right == 2),
        "accuracy": share(total, right, 2 * each),
        **f1_rates(total, true_yes, true_yes + false_yes, each),
        "yes_ratio": share(total, true_yes + false_yes, 2 * each),
    }
