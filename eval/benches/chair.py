"""CHAIR (arXiv 1809.02156), and Object HalBench by its rules, without the language model that extracts objects.

With M_i the mentions of objects in answer i and G_i the classes that are there, in instances or reference captions:

    CHAIR_i        = sum |{m in M_i : m not in G_i}| / sum |M_i|     share of mentions that are invented
    CHAIR_s        = answers with an invented object / answers
    CHAIR_s_refine = answers with an invented object / answers with an object at all
    recall         = sum |set(M_i) and G_i| / sum |G_i|

A longer answer has more of all of them: read them beside `recall` and `words`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, pairs, percent
from eval.uncertainty import Total, average, share
from training.utils.answers.coco_objects import Vocabulary
from training.utils.answers.coco_pictures import true_classes


def score(questions: Sequence[Question], answers: Answers, synonyms: Vocabulary) -> Scored:
    """Rates over all answers."""
    per_item = []
    for question, text in pairs(questions, answers):
        there = true_classes(question.truth, synonyms)
        named = synonyms.mentions(text)
        per_item.append(
            {
                "id": question.id,
                "response": text,
                "named": named,
                "invented": [mention for mention in named if mention[1] not in there],
                "covered": sorted({name for _, name in named} & there),
                "there": sorted(there),
            }
        )
    num_mentions = sum(len(item["named"]) for item in per_item)
    num_wrong = sum(bool(item["invented"]) for item in per_item)
    metrics = {
        "CHAIR_i": percent(sum(len(item["invented"]) for item in per_item), num_mentions),
        "CHAIR_s": percent(num_wrong, len(per_item)),
        "CHAIR_s_refine": percent(num_wrong, sum(bool(item["named"]) for item in per_item)),
        "recall": percent(sum(len(i["covered"]) for i in per_item), sum(len(i["there"]) for i in per_item)),
    }
    warnings = [] if num_mentions else ["no answer names an object: the rates are of nothing and count as 0"]
    num_classes = len(set(synonyms.class_of.values()))
    variant = f"CHAIR by rules: {num_classes} classes, own lemmatiser, every mention counts"
    return Scored(metrics, per_item, variant, warnings=warnings)


def score_halbench(questions: Sequence[Question], answers: Answers, synonyms: Vocabulary) -> Scored:
    """The same rates by the names that Object HalBench gives them."""
    scored = score(questions, answers, synonyms)
    metrics = {"response_hall": scored.metrics["CHAIR_s_refine"], "mention_hall": scored.metrics["CHAIR_i"]}
    warnings = scored.warnings + [f"{len(questions)} questions, expected 300"] * (len(questions) != 300)
    variant = f"Object HalBench without a language model that extracts the objects; {scored.variant}"
    return replace(scored, metrics=metrics | scored.metrics, warnings=warnings, variant=variant)


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample."""

    def sizes(name: str) -> np.ndarray:
        return np.array([len(item[name]) for item in items])

    wrong = sizes("invented") > 0
    return {
        "CHAIR_i": share(total, sizes("invented"), sizes("named")),
        "CHAIR_s": 100 * average(total, wrong),
        "CHAIR_s_refine": share(total, wrong, sizes("named") > 0),
        "recall": share(total, sizes("covered"), sizes("there")),
    }


def rates_halbench(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    found = rates(items, total)
    return {"response_hall": found["CHAIR_s_refine"], "mention_hall": found["CHAIR_i"]} | found
