"""What a scorer gives back, and how answers meet their questions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Scored:
    metrics: dict[str, float]
    n: int  # answers that were scored
    per_item: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def responses_by_id(
    predictions: Sequence[dict], wanted: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """The responses to each wanted id, and a warning for whatever is missing, double or unknown.

    A prediction holds `responses`, all of which count, or one `response`.
    """
    found: dict[str, list[str]] = {}
    double = unknown = 0
    known = set(wanted)
    for line in predictions:
        if line["id"] not in known:
            unknown += 1
        elif line["id"] in found:
            double += 1
        else:
            found[line["id"]] = line.get("responses") or [line["response"]]
    missing = len(known) - len(found)
    notes = {
        "without an answer: not scored": missing,
        "answered twice: the first answer counts": double,
        "not among the questions: not scored": unknown,
    }
    return found, [f"{count} of {len(wanted)} ids {note}" for note, count in notes.items() if count]
