"""LLaVA-Bench (arXiv 2304.08485): a judge rates the reference answer and the model's from 1 to 10, side by side.

    relative score = 100 * mean(rating of the model) / mean(rating of the reference)

a ratio of means, not a mean of ratios. Two sets, COCO (90 questions on 30 pictures) and In-the-Wild (60 on 24). The
judge sees text alone: captions, for COCO boxes too. What it is told is the benchmark's, and not part of this project:
`rule.json` is an official data file (`llava/eval/table` of LLaVA); the system message stands in
`llava/eval/eval_gpt_review_bench.py` there.
"""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

import numpy as np

from eval.benches.files import entries, field
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, by_part, pairs
from eval.uncertainty import Total, share
from training.utils.chat.client import Ask, replies
from training.utils.chat.messages import Messages, Shown, concluded, nothing, told
from training.utils.data.record import DataError

# official names of the questions, the reference answers and what is in the pictures
SETS = {
    "COCO": ("qa90_questions.jsonl", "qa90_gpt4_answer.jsonl", "caps_boxes_coco2014_val_80.jsonl"),
    "In-the-Wild": ("questions.jsonl", "answers_gpt4.jsonl", "context.jsonl"),
}
RULE_PREFIX = {"COCO": "", "In-the-Wild": "llava_bench_"}  # of a category's name in rule.json


def load(paths: Sequence[Path]) -> list[Question]:
    """The questions of a folder with the three official files of one set.

    What is true of a question: `rule` (its name in rule.json), `context` and `reference`.
    """
    (folder,) = paths if len(paths) == 1 else [None]
    sets = [
        name for name, names in SETS.items() if folder and all((folder / file).is_file() for file in names)
    ]
    if len(sets) != 1:
        expected = " or ".join(f"{', '.join(names)} ({name})" for name, names in SETS.items())
        raise DataError(f"{folder}: {len(sets)} sets of LLaVA-Bench; expected a folder with one: {expected}")
    asked, answered, described = ([entry for *_, entry in entries([folder / file])] for file in SETS[sets[0]])
    references = {str(line["question_id"]): line for line in answered}
    contexts = {line["image"]: line for line in described}
    questions = []
    for line in asked:
        name = str(field(line, "question_id", str(folder)))
        if name not in references or line["image"] not in contexts:
            raise DataError(f"{folder}: question {name} has no reference answer or no context")
        truth = {
            "rule": RULE_PREFIX[sets[0]] + line["category"],
            "context": context(contexts[line["image"]]),
            "reference": references[name]["text"],
        }
        questions.append(Question(name, line["text"], (line["image"],), truth, line["category"]))
    return questions


def context(line: dict) -> str:
    """Captions, one a line; below them the boxes, where there are some."""
    captions = line.get("captions", line.get("caption", []))
    text = captions if isinstance(captions, str) else "\n".join(captions)
    boxes = "\n".join(f"{box['category']}: {box['bbox']}" for box in line.get("instances", []))
    return f"{text}\n\n{boxes}" if "instances" in line else text


def to_messages(
    question: Question,
    response: str,
    rules: dict,
    system: str = "",
    swap: bool = False,
    pictures: Sequence[dict] = (),
) -> Messages:
    """The reference is shown first, as the protocol says; `swap` shows it second, which is not official."""
    truth = question.truth
    if truth["rule"] not in rules:
        raise DataError(f"--judge_prompt: no rule {truth['rule']}; expected the official rule.json")
    rule = rules[truth["rule"]]
    answers = [truth["reference"], response]
    parts = [f"[Context]\n{truth['context']}", f"[Question]\n{question.prompt}"]
    for place, answer in enumerate(reversed(answers) if swap else answers, 1):
        title = f"{rule['role']} {place}"
        parts += [f"[{title}]\n{answer}", f"[End of {title}]"]
    parts.append(f"[System]\n{rule['prompt']}")
    return told("\n\n".join(parts) + "\n\n", pictures, system)


def parse(reply: str) -> tuple[float, float] | None:
    """The two ratings in the first line, read as the official script does: split at each single space.

    So `8, 9` and `8 9 ` are failures. The script would average a failure in as -1; here it is none.
    """
    words = reply.split("\n")[0].replace(",", " ").split(" ")
    try:
        first, second = map(float, words)
    except ValueError:
        return None
    return (first, second) if math.isfinite(first) and math.isfinite(second) else None


def strict(reply: str) -> tuple[float, float] | None:
    """The two ratings from 1 to 10 in the first line that says anything, however they are parted."""
    first_line = next(filter(str.strip, concluded(reply).split("\n")), "")
    found = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", re.sub(r"/\s*10\b", "", first_line))]
    return (found[0], found[1]) if len(found) == 2 and all(1 <= rating <= 10 for rating in found) else None


PARSERS: dict[str, Callable[[str], tuple[float, float] | None]] = {"official": parse, "strict": strict}


def score(
    questions: Sequence[Question],
    answers: Answers,
    rules: dict,
    ask: Ask,
    system: str = "",
    swap: bool = False,
    parser: str = "official",
    shown: Shown = nothing,
) -> Scored:
    """Relative scores in percent, of all and of each category, and ten times the mean of either's ratings.

    A reply that holds no two ratings is dropped, and counted.
    """
    per_item, warnings = [], []
    asked = list(pairs(questions, answers))
    said = replies(ask, [to_messages(q, text, rules, system, swap, shown(q.id)) for q, text in asked])
    for (question, text), reply in zip(asked, said, strict=True):
        ratings = PARSERS[parser](reply.text)
        reference, ours = (ratings[::-1] if swap else ratings) if ratings else (None, None)
        item = {"id": question.id, "response": text, "category": question.group} | reply.fields()
        per_item.append(item | {"reference_rating": reference, "rating": ours})
    rated = [item for item in per_item if item["rating"] is not None]
    failures = len(per_item) - len(rated)
    if failures:
        warnings.append(f"{failures} of {len(per_item)} replies hold no two ratings: dropped")
    if not system:
        warnings.append("no system message; the official protocol gives one: --judge_system")
    metrics = relative(rated) if rated else {}
    if "relative" not in metrics:
        warnings.append("no relative score: the reference has no rating above 0")
    groups = {name: relative(items) for name, items in by_part(rated, "category").items()}
    variant = (
        "not official: the reference is shown second" if swap else "ratio of means, the reference shown first"
    )
    return Scored(metrics, per_item, variant, groups, failures, warnings)


def relative(rated: Sequence[dict]) -> dict[str, float]:
    """The ratio of the means in percent, where there is one, and ten times each mean."""
    ours = mean(item["rating"] for item in rated)
    reference = mean(item["reference_rating"] for item in rated)
    ratio = {"relative": 100 * ours / reference} if reference else {}
    return ratio | {"ours_x10": 10 * ours, "reference_x10": 10 * reference}


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample."""
    rated = np.array([item["rating"] is not None for item in items])
    ours, reference = (
        np.array([item[name] or 0 for item in items]) for name in ("rating", "reference_rating")
    )
    return {
        "relative": share(total, ours, reference),
        "ours_x10": share(total, ours, rated) / 10,
        "reference_x10": share(total, reference, rated) / 10,
    }
