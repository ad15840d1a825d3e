"""LLaVA-Bench (arXiv 2304.08485): a judge rates the reference answer and the model's from 1 to 10, side by side.

    relative score = 100 * mean(rating of the model) / mean(rating of the reference)

a ratio of means, not a mean of ratios. Two sets, COCO (90 questions on 30 pictures) and In-the-Wild (60 on 24). The
judge sees text alone: captions, for COCO boxes too. What it is told is the benchmark's, and not part of this project:
`rule.json` is an official data file (`llava/eval/table` of LLaVA); the system message stands in
`llava/eval/eval_gpt_review_bench.py` there.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from eval.benches.records import read_records
from eval.benches.scored import Scored, responses_by_id
from eval.judges import Ask, Messages
from training.utils.data.record import DataError

# official names of the questions, the reference answers and what is in the pictures
SETS = {
    "COCO": ("qa90_questions.jsonl", "qa90_gpt4_answer.jsonl", "caps_boxes_coco2014_val_80.jsonl"),
    "In-the-Wild": ("questions.jsonl", "answers_gpt4.jsonl", "context.jsonl"),
}
RULE_PREFIX = {"COCO": "", "In-the-Wild": "llava_bench_"}  # of a category's name in rule.json


def load(folder: Path) -> list[dict]:
    """`id`, `image`, `question`, `category`, `rule` (its name), `context` and `reference` of each question.

    The folder holds the three official files of one set.
    """
    sets = [name for name, files in SETS.items() if all((folder / file).is_file() for file in files)]
    if len(sets) != 1:
        expected = " or ".join(f"{', '.join(files)} ({name})" for name, files in SETS.items())
        raise DataError(f"{folder}: {len(sets)} sets of LLaVA-Bench; expected one: {expected}")
    files = [folder / file for file in SETS[sets[0]]]
    questions = read_records(files[0], ("question_id", "image", "text", "category"))
    references = {str(line["question_id"]): line for line in read_records(files[1], ("question_id", "text"))}
    contexts = {line["image"]: line for line in read_records(files[2], ("image",))}
    records = []
    for question in questions:
        name = str(question["question_id"])
        if name not in references or question["image"] not in contexts:
            raise DataError(f"{files[0]}: question {name} has no reference answer or no context in {folder}")
        records.append(
            {
                "id": name,
                "image": question["image"],
                "question": question["text"],
                "category": question["category"],
                "rule": RULE_PREFIX[sets[0]] + question["category"],
                "context": context(contexts[question["image"]]),
                "reference": references[name]["text"],
            }
        )
    return records


def context(line: dict) -> str:
    """Captions, one a line; below them the boxes, where there are some."""
    captions = line.get("captions", line.get("caption", []))
    text = captions if isinstance(captions, str) else "\n".join(captions)
    boxes = "\n".join(f"{box['category']}: {box['bbox']}" for box in line.get("instances", []))
    return f"{text}\n\n{boxes}" if "instances" in line else text


def to_prompt(record: dict) -> str:
    return record["question"]


def to_messages(record: dict, response: str, rules: dict, system: str = "", swap: bool = False) -> Messages:
    """The reference is shown first, as the protocol says; `swap` shows it second, which is not official."""
    if record["rule"] not in rules:
        raise DataError(f"--judge_prompt: no rule {record['rule']}; expected the official rule.json")
    rule = rules[record["rule"]]
    answers = [record["reference"], response]
    parts = [f"[Context]\n{record['context']}", f"[Question]\n{record['question']}"]
    for place, answer in enumerate(reversed(answers) if swap else answers, 1):
        title = f"{rule['role']} {place}"
        parts += [f"[{title}]\n{answer}", f"[End of {title}]"]
    parts.append(f"[System]\n{rule['prompt']}")
    messages = [{"role": "user", "content": "\n\n".join(parts) + "\n\n"}]
    return [{"role": "system", "content": system}, *messages] if system else messages


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


def score(
    records: Sequence[dict],
    predictions: Sequence[dict],
    rules: dict,
    ask: Ask,
    system: str = "",
    swap: bool = False,
) -> Scored:
    """Relative scores in percent, of all and of each category, and ten times the mean of either's ratings."""
    by_id = {record["id"]: record for record in records}
    responses, warnings = responses_by_id(predictions, list(by_id))
    per_item = []
    for name, texts in responses.items():
        for text in texts:
            reply = ask(to_messages(by_id[name], text, rules, system, swap))
            ratings = parse(reply)
            reference, ours = (ratings[::-1] if swap else ratings) if ratings else (None, None)
            item = {"id": name, "response": text, "category": by_id[name]["category"], "reply": reply}
            per_item.append(item | {"reference_rating": reference, "rating": ours})
    rated = [item for item in per_item if item["rating"] is not None]
    failures = len(per_item) - len(rated)
    if failures:
        warnings.append(f"{failures} of {len(per_item)} replies hold no two ratings: dropped")
    if not system:
        warnings.append("no system message; the official protocol gives one: --judge_system")
    if swap:
        warnings.append("not official: the reference is shown second")
    by_category = defaultdict(list, {"": rated})
    for item in rated:
        by_category[item["category"]].append(item)
    metrics = {}
    for category in sorted(by_category):
        ours = mean([item["rating"] for item in by_category[category]] or [0.0])
        reference = mean([item["reference_rating"] for item in by_category[category]] or [0.0])
        ending = f"_{category}" if category else ""
        if reference:
            metrics[f"relative{ending}"] = 100 * ours / reference
        else:
            warnings.append(f"no relative score{ending}: the reference has no rating above 0")
        metrics |= {f"ours_x10{ending}": 10 * ours, f"reference_x10{ending}": 10 * reference}
    return Scored(metrics | {"parse_failures": failures}, len(rated), per_item, warnings)
