"""POPE (arXiv 2305.10355): yes-no questions about objects; `yes` is the positive class."""

import re
from collections.abc import Callable, Sequence

from eval.benches.scored import Scored, responses_by_id


def official(text: str) -> str:
    """The benchmark's own reading: the first sentence, no commas; a word No, no or not means no, all else yes."""
    words = text.strip().split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def strict(text: str) -> str:
    """Yes or no if exactly one of the two words is there, in any case; else unknown, which is wrong."""
    found = {word for word in re.findall(r"[a-z]+", text.lower()) if word in ("yes", "no")}
    return found.pop() if len(found) == 1 else "unknown"


PARSERS: dict[str, Callable[[str], str]] = {"official": official, "strict": strict}


def score(truth: Sequence[dict], predictions: Sequence[dict], parser: str = "official") -> Scored:
    """Accuracy, precision, recall, F1 and share of yes, in percent.

    Args:
        truth: `id` and `label` ("yes" or "no") of each question.
        predictions: `id` with `response` or `responses`.
    """
    labels = {question["id"]: question["label"].lower() for question in truth}
    responses, warnings = responses_by_id(predictions, list(labels))
    per_item = [
        {"id": name, "response": text, "answer": PARSERS[parser](text), "label": labels[name]}
        for name, texts in responses.items()
        for text in texts
    ]
    unclear = sum(strict(item["response"]) == "unknown" for item in per_item)
    if unclear:
        warnings.append(f"{unclear} of {len(per_item)} answers say neither yes nor no, or both")
    other = sum(strict(item["response"]) not in ("unknown", official(item["response"])) for item in per_item)
    if other:
        warnings.append(
            f"{other} of {len(per_item)} answers are read differently by the official and strict parser"
        )
    n = len(per_item)
    said_yes = [item for item in per_item if item["answer"] == "yes"]
    true_yes = sum(item["label"] == "yes" for item in said_yes)
    precision = true_yes / len(said_yes) if said_yes else 0.0
    num_yes = sum(item["label"] == "yes" for item in per_item)
    recall = true_yes / num_yes if num_yes else 0.0
    rates = {
        "accuracy": sum(item["answer"] == item["label"] for item in per_item) / max(n, 1),
        "precision": precision,
        "recall": recall,
        "F1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "yes_ratio": len(said_yes) / max(n, 1),
    }
    return Scored({name: 100 * rate for name, rate in rates.items()}, n, per_item, warnings)
