"""POPE (arXiv 2305.10355): yes-no questions about objects; `yes` is the positive class.

    precision = TP / (TP + FP)    recall = TP / (TP + FN)    F1 = 2 precision recall / (precision + recall)
    yes_ratio = answers that say yes / answers

Each file is a split. With several the figures are the mean of theirs, as the paper reports them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from eval.benches import yes_no
from eval.benches.files import entries, field, files, find_root
from eval.benches.question import Question, from_llava
from eval.benches.scored import Answers, Scored, percent
from eval.benches.yes_no import read_answers, strict
from eval.uncertainty import Total, share
from training.utils.data.record import DataError

NO_QUESTIONS = (
    "co_occur",
    "ground_truth_objects",
)  # in the names of files that POPE's own builder leaves there


def official_files(paths: Sequence[Path], is_repope: bool) -> list[Path]:
    """The files with questions: those given, and of folders either POPE's or RePOPE's where both lie there."""
    found = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        root = find_root(path, ["*.json"], ("coco", "output/coco", "annotations"))
        asked = [file for file in files([root]) if not any(part in file.stem for part in NO_QUESTIONS)]
        wanted = [file for file in asked if ("repope" in file.stem) == is_repope]
        found += wanted or asked
    return found


def load(paths: Sequence[Path], is_repope: bool = False) -> list[Question]:
    """Questions from official files, COCO's JSON Lines or SEEM's arrays, or from LLaVA's format with labels.

    Official ids begin at 1 in each file, so the name of the file goes in front. Of POPE's repository, or its folder
    `output`, the files of COCO are taken.
    """
    questions = []
    for file, index, entry in entries(official_files(paths, is_repope)):
        where = f"{file}[{index}]"
        label = str(field(entry, "label", where)).strip().lower()
        if label not in ("yes", "no"):
            raise DataError(f"{where}: label {entry['label']!r}, expected yes or no")
        if "conversations" in entry:
            question = from_llava(entry, where, index, label, file.stem)
        else:
            name = f"{file.stem}/{field(entry, 'question_id', where)}"
            image = field(entry, "image", where)
            question = Question(name, field(entry, "text", where), (image,), label, file.stem)
        questions.append(question)
    return questions


def official(text: str) -> str:
    """The benchmark's own reading: the first sentence, no commas; a word No, no or not means no, all else yes."""
    words = text.strip().split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


PARSERS: dict[str, Callable[[str], str]] = {"official": official, "strict": strict}


def score(questions: Sequence[Question], answers: Answers, parser: str = "official") -> Scored:
    """Accuracy, precision, recall, F1 and share of yes: of each split, and their means."""
    per_item = read_answers(questions, answers, PARSERS[parser], "split")
    splits = {item["split"]: [] for item in per_item}
    for item in per_item:
        splits[item["split"]].append(item)
    groups = {name: figures(items) for name, items in splits.items()}
    names = ("accuracy", "precision", "recall", "F1", "yes_ratio")
    metrics = {name: fmean(group[name] for group in groups.values()) for name in names} if groups else {}
    warnings = [
        f"{name}: no answer says yes; its precision counts as 0"
        for name, group in groups.items()
        if group["yes_ratio"] == 0
    ]
    unclear = sum(strict(item["response"]) == "unknown" for item in per_item)
    if unclear:
        warnings.append(f"{unclear} of {len(per_item)} answers say neither yes nor no, or both")
    other = sum(strict(item["response"]) not in ("unknown", official(item["response"])) for item in per_item)
    if other:
        warnings.append(
            f"{other} of {len(per_item)} answers are read differently by the official and strict parser"
        )
    variant = f"POPE with the {parser} parser, answers stripped of white space; the mean over splits"
    return Scored(metrics, per_item, variant, groups, unclear, warnings)


def figures(items: Sequence[dict]) -> dict[str, float]:
    """The figures of one split; a rate of nothing is 0."""
    said_yes = [item for item in items if item["answer"] == "yes"]
    true_yes = sum(item["label"] == "yes" for item in said_yes)
    precision = percent(true_yes, len(said_yes))
    recall = percent(true_yes, sum(item["label"] == "yes" for item in items))
    return {
        "accuracy": percent(sum(item["answer"] == item["label"] for item in items), len(items)),
        "precision": precision,
        "recall": recall,
        "F1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "yes_ratio": percent(len(said_yes), len(items)),
        "n": len(items),
    }


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The means over splits in each resample."""
    answers = np.array([item["answer"] == "yes" for item in items])
    splits = []
    for name in dict.fromkeys(item["split"] for item in items):
        counts = np.array([item["split"] == name for item in items])
        yes_ratio = {"yes_ratio": share(total, answers & counts, counts)}
        splits.append(yes_no.rates(items, total, "yes", name) | yes_ratio)
    return {name: np.mean([split[name] for split in splits], axis=0) for name in splits[0]}
