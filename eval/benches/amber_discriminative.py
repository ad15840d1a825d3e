"""AMBER's discriminative part: yes-no questions. `No` is the positive class, as hallucination is what is looked for.

    P = answers No that are right / answers No     R = answers No that are right / questions whose truth is no
    F1 = 2 P R / (P + R + e), from P and R that are rounded already; e is 0.001 for existence, else 0.0001

All truths of existence are no, so its precision is 100 by construction.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from eval.benches import yes_no
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, percent
from eval.benches.yes_no import read_answers, strict
from eval.uncertainty import Total

ATTRIBUTE = "discriminative-attribute-"
PARTS: dict[str, Callable[[str], bool]] = {
    "existence": lambda kind: kind == "discriminative-hallucination",
    "attribute": lambda kind: kind.startswith(ATTRIBUTE),
    "state": lambda kind: kind == ATTRIBUTE + "state",
    "number": lambda kind: kind == ATTRIBUTE + "number",
    "action": lambda kind: kind == ATTRIBUTE + "action",
    "relation": lambda kind: not kind.startswith(ATTRIBUTE) and kind != "discriminative-hallucination",
}


def first(text: str) -> str:
    """The first word yes or no, in any case; else unknown, which is wrong and no `No`."""
    found = re.search(r"\b(yes|no)\b", text.lower())
    return found[1] if found else "unknown"


def exact(text: str) -> str:
    """The official reading: exactly `Yes` or `No`."""
    return {"Yes": "yes", "No": "no"}.get(text, "unknown")


PARSERS: dict[str, Callable[[str], str]] = {
    "first": first,
    "exact": exact,
    "official": exact,
    "strict": strict,
}


def score(questions: Sequence[Question], answers: Answers, parser: str = "first") -> Scored:
    """Figures of all questions and of each part that has answers, rounded as the official scorer prints them."""
    per_item = read_answers(questions, answers, PARSERS[parser], "type")
    groups = {}
    for name, belongs in PARTS.items():
        items = [item for item in per_item if belongs(item["type"])]
        if items:
            groups[name] = figures(items, 0.001 if name == "existence" else 0.0001) | {"n": len(items)}
    unread = sum(item["answer"] == "unknown" for item in per_item)
    variant = f"AMBER discriminative, No is positive, parser: {parser}"
    return Scored(figures(per_item) if per_item else {}, per_item, variant, groups, unread)


def figures(items: Sequence[dict], epsilon: float = 0.0001) -> dict[str, float]:
    """Figures of some answers; a rate of nothing is 0."""
    said = [item for item in items if item["answer"] == "no"]
    right = sum(item["label"] == "no" for item in said)
    precision = round(percent(right, len(said)), 1)
    recall = round(percent(right, sum(item["label"] == "no" for item in items)), 1)
    p, r = precision / 100, recall / 100
    return {
        "accuracy": round(percent(sum(item["answer"] == item["label"] for item in items), len(items)), 1),
        "precision": precision,
        "recall": recall,
        "F1": round(100 * 2 * p * r / (p + r + epsilon), 1),
    }


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures of all questions in each resample, without rounding."""
    return yes_no.rates(items, total, "no")
