"""HallusionBench (arXiv 2310.14566): yes-no questions that belong together, on pictures, edited ones, and without.

    aAcc       questions that are right
    qAcc       questions (asked on several pictures, or with and without one) that are right each time
    fAcc       pictures on which all questions are right
    easy_aAcc  as qAcc, of what is asked on the original picture or without one;  hard_aAcc: on the edited picture
    yes_bias   answers yes less truths yes, in percent of the questions;  fp_ratio: of what is wrong, truth is no

These are the figures of `evaluation.py` in github.com/tianyi-lab/HallusionBench. There a language model says whether
an answer is right, wrong or unclear. Here the yes or no in it does, and one without either is unclear: that is right
where a question that needs no picture was asked without one, else wrong.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from eval.benches.amber_discriminative import first
from eval.benches.files import entries, field
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, percent, whole_groups
from eval.benches.yes_no import strict
from eval.uncertainty import Total, share
from training.utils.data.record import DataError

PARTS = ("category", "subcategory", "set_id", "figure_id", "question_id")
TRUTHS = {"0": "no", "1": "yes"}
EDITED = "2"
Counts = dict[str, list[int]]  # of each figure: how much of it, of how many


def load(paths: Sequence[Path]) -> list[Question]:
    """The questions of `HallusionBench.json`; a group is a set, inside which all comparisons are made.

    Raises:
        DataError: a field is missing, or an answer is neither 0 nor 1.
    """
    questions = []
    for file, index, entry in entries(paths):
        where = f"{file}[{index}]"
        parts = [str(field(entry, name, where)) for name in PARTS]
        if (given := str(field(entry, "gt_answer", where))) not in TRUTHS:
            raise DataError(f"{where}: gt_answer {given!r}; expected 0 (no) or 1 (yes)")
        name = entry.get("filename")
        images = (name.removeprefix("./").removeprefix("hallusion_bench/"),) if name else ()
        truth = {"answer": TRUTHS[given], "visual_input": str(field(entry, "visual_input", where))}
        truth |= dict(zip(PARTS, parts, strict=True))
        asked = field(entry, "question", where)
        questions.append(Question("/".join(parts), asked, images, truth, "/".join(parts[:3])))
    return questions


PARSERS: dict[str, Callable[[str], str]] = {"first": first, "strict": strict}


def score(questions: Sequence[Question], answers: Answers, parser: str = "first") -> Scored:
    """The figures over sets whose questions were all answered, and those of either category (VD, VS)."""
    sets, warnings = whole_groups(questions, answers, "sets")
    per_item, unread = [], 0
    for name, asked, texts in sets:
        said = [PARSERS[parser](text) for text in texts]
        unread += said.count("unknown")
        truths = [question.truth for question in asked]
        per_item.append(
            {"id": name, "responses": list(texts), "answers": said, "counts": _counts(truths, said)}
        )
    kinds = sorted({item["id"].split("/")[0] for item in per_item})
    groups = {
        kind: _figures([item for item in per_item if item["id"].split("/")[0] == kind]) for kind in kinds
    }
    variant = (
        f"HallusionBench by the yes or no of an answer, parser: {parser}; officially a language model judges"
    )
    return Scored(_figures(per_item), per_item, variant, groups, unread, warnings)


def _counts(truths: Sequence[dict], said: Sequence[str]) -> Counts:
    """What a set adds to each figure."""
    parts: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    bias = false_yes = wrong = 0
    for number, (truth, answer) in enumerate(zip(truths, said, strict=True)):
        without = truth["category"] == "VS" and truth["figure_id"] == "0"
        right = answer == truth["answer"] or (without and answer == "unknown")
        side = "hard_aAcc" if truth["visual_input"] == EDITED else "easy_aAcc"
        parts["aAcc"][str(number)].append(right)
        parts["qAcc"][truth["question_id"]].append(right)
        parts[side][truth["question_id"]].append(right)
        if not without:
            parts["fAcc"][truth["figure_id"]].append(right)
        is_yes = truth["answer"] == "yes"
        bias += (right == is_yes) - is_yes  # a wrong answer to what is not so says yes
        false_yes += not right and not is_yes
        wrong += not right
    counts = {
        name: [sum(map(all, parts[name].values())), len(parts[name])]
        for name in ("qAcc", "fAcc", "aAcc", "easy_aAcc", "hard_aAcc")
    }
    return counts | {"yes_bias": [bias, len(truths)], "fp_ratio": [false_yes, wrong]}


def _figures(items: Sequence[dict]) -> dict[str, float]:
    names = items[0]["counts"] if items else ()
    return {
        name: percent(*(sum(item["counts"][name][place] for item in items) for place in (0, 1)))
        for name in names
    }


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample of sets."""
    names = items[0]["counts"]
    counts = {name: np.array([item["counts"][name] for item in items]).T for name in names}
    return {name: share(total, part, whole) for name, (part, whole) in counts.items()}
