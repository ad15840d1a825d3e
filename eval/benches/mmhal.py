"""MMHal-Bench (arXiv 2309.14525): a judge rates each answer from 0 to 6; below 3 it hallucinates.

The judge reads of the objects in the picture, the question, a person's answer and the model's; the official one sees
no picture. Its prompt is the benchmark's, and not part of this project: take the text of `template` from the official
script (`eval/eval_gpt_mmhal.py` of RLAIF-V, or `eval_gpt_mmhal.py` of MMHal-Bench) into a file of your own.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

import numpy as np

from eval.benches.files import entries, field
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, pairs
from eval.uncertainty import Total, average
from training.utils.chat.client import Ask, replies
from training.utils.chat.messages import Messages, Shown, concluded, fill, nothing, told

FIELDS = ("question_type", "image_content", "question", "gt_answer")
HALLUCINATES_BELOW = 3
VARIANT = "rated from 0 to 6 by a judge; never to be compared with figures of another judge"


def load(paths: Sequence[Path]) -> list[Question]:
    """The 96 records of `mmhal-bench_answer_template.json`; one without an `id` is called by its place, from 0."""
    questions = []
    for file, place, record in entries(paths):
        for name in FIELDS:
            field(record, name, f"{file}[{place}]")
        image = str(record.get("image_src", "")).rsplit("/", 1)[-1]  # the file name of its address
        name = str(record.get("id", place))
        images = (image,) if image else ()
        questions.append(Question(name, record["question"], images, record, record["question_type"]))
    return questions


def to_messages(record: dict, response: str, template: str, pictures: Sequence[dict] = ()) -> Messages:
    """Fills the four `{}` of the prompt: contents of the image, question, the person's answer, the model's."""
    values = [", ".join(record["image_content"]), record["question"], record["gt_answer"], response]
    return told(fill(template, values, "--judge_prompt", "MMHal-Bench's"), pictures)


def parse(reply: str) -> int | None:
    """The one rating from 0 to 6 that the reply gives, read as the official script does; none if none or several."""
    found = [rating for rating in range(7) if f"rating: {rating}" in reply.lower()]
    return found[0] if len(found) == 1 else None


def strict(reply: str) -> int | None:
    """The rating from 0 to 6 behind `rating`, in bold or not; none if there is another number or are two."""
    found = set(re.findall(r"rating\W*(\d+(?:\.\d+)?)", concluded(reply).lower()))
    rating = found.pop() if len(found) == 1 else ""
    return int(rating) if rating in tuple("0123456") else None


PARSERS: dict[str, Callable[[str], int | None]] = {"official": parse, "strict": strict}


def score(
    questions: Sequence[Question],
    answers: Answers,
    template: str,
    ask: Ask,
    parser: str = "official",
    shown: Shown = nothing,
) -> Scored:
    """Mean rating (0 to 6), rates in percent, and the mean rating of each question type.

    A reply without one rating, or none at all, counts as 0, as in the official script. Informativeness (RLHF-V) is
    the rating within its half of the scale, as a share of 3: mean(r - 3 if r >= 3 else r) / 3.
    """
    per_item = []
    by_type = defaultdict(list)
    asked = list(pairs(questions, answers))
    said = replies(ask, [to_messages(q.truth, text, template, shown(q.id)) for q, text in asked])
    for (question, text), reply in zip(asked, said, strict=True):
        parsed = PARSERS[parser](reply.text)
        rating = parsed or 0
        item = {"id": question.id, "response": text, "question_type": question.group} | reply.fields()
        per_item.append(
            item | {"parsed": parsed, "rating": rating, "hallucinates": rating < HALLUCINATES_BELOW}
        )
        by_type[question.group].append(rating)
    if all(item["parsed"] is None for item in per_item):
        return Scored({}, per_item, VARIANT, parse_failures=len(per_item))
    warnings = []
    parsed = [item["parsed"] for item in per_item if item["parsed"] is not None]
    failures = len(per_item) - len(parsed)
    if failures:
        warnings.append(
            f"{failures} of {len(per_item)} replies hold no one rating and count as 0; score without: "
            f"{mean(parsed):.2f}"
        )
    ratings = [item["rating"] for item in per_item]
    within_half = [rating - 3 if rating >= HALLUCINATES_BELOW else rating for rating in ratings]
    metrics = {
        "score": mean(ratings),
        "hallucination_rate": 100 * mean(item["hallucinates"] for item in per_item),
        "informativeness": 100 * mean(within_half) / 3,
    }
    groups = {kind: {"score": mean(by_type[kind])} for kind in sorted(by_type)}
    return Scored(metrics, per_item, VARIANT, groups, failures, warnings)


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample."""
    ratings = np.array([item["rating"] for item in items])
    within_half = np.where(ratings >= HALLUCINATES_BELOW, ratings - 3, ratings)
    return {
        "score": average(total, ratings),
        "hallucination_rate": 100 * average(total, ratings < HALLUCINATES_BELOW),
        "informativeness": 100 * average(total, within_half) / 3,
    }
