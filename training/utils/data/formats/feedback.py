"""Answers of several models that were rated: VLFeedback, UltraFeedback; and RLHF-V's pair in a text."""

from statistics import fmean
from typing import Any

from ..record import DataError
from .dialogue import read_prompt
from .llava import spelled
from .row import Row
from .spelled import Spelled
from .trl import read_preference
from .values import as_number

ASPECTS = ("Helpfulness", "Visual Faithfulness", "Ethical Considerations")


def read_completions(row: Row) -> Spelled:
    """VLFeedback's `prompt` or UltraFeedback's `instruction`, with `completions` and their scores.

    The score of a completion is UltraFeedback's `overall_score`, or the mean of VLFeedback's three ratings, of
    those that are numbers. Its critique is UltraFeedback's `critique`, or VLFeedback's rationales.
    """
    found = read_prompt(row, "prompt" if "prompt" in row else "instruction")
    completions = row.rows("completions")
    if not completions:
        raise DataError("`completions` is empty; expected rated answers")
    scores = tuple(map(_score, completions))
    found.responses = [completion.text("response") for completion in completions]
    for completion in completions:  # UltraFeedback asked each model under a principle of its own
        completion.ignore("custom_system_prompt", "principle")
    row.ignore("models", "correct_answers", "incorrect_answers")
    critiques = [*map(_critique, completions)]
    return spelled(found, scores, critiques=critiques if all(critiques) else [])


def _score(completion: Row) -> float:
    if "overall_score" in completion:
        return completion.number("overall_score")
    annotations = completion.row("annotations")
    ratings = []
    for aspect in ASPECTS:
        if aspect in annotations:
            rating = _rating(annotations.row(aspect).take("Rating"))
            ratings += [] if rating is None else [rating]
    if not ratings:
        raise DataError(f"{completion.place}has no rating that is a number for {', '.join(ASPECTS)}")
    return fmean(ratings)


def _rating(value: Any) -> float | None:
    """The number of a rating; none where the rater gave none (`N/A`)."""
    try:
        return as_number(value, "Rating")
    except DataError:
        return None


def _critique(completion: Row) -> str:
    """What the rater wrote about a completion; empty where nothing is there."""
    if isinstance(completion.fields.get("critique"), str):
        return completion.text("critique").strip()
    annotations = completion.row("annotations") if "annotations" in completion else Row({})
    said = {aspect: annotations.row(aspect).take("Rationale") for aspect in ASPECTS if aspect in annotations}
    return "\n".join(f"{aspect}: {text.strip()}" for aspect, text in said.items() if isinstance(text, str))


def read_rlhf_v(row: Row) -> Spelled:
    """RLHF-V: `text` is the JSON text of an object with `question`, `chosen` and `rejected`."""
    pair = row.row("text")
    return read_preference(pair)
