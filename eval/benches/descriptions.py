"""Free descriptions of the demo world's pictures, by AMBER's definitions (arXiv 2311.07397) and CHAIR's (1809.02156).

With M_i the mentions of objects in answer i and G_i the objects that are there:

    CHAIR_i = sum |{m in M_i : m not in G_i}| / sum |M_i|      share of mentions that are invented
    CHAIR_s = Hal = share of answers with an invented object
    Cover   = sum |G_i and M_i| / sum |G_i|                    share of objects that are named
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.demo_text import QUESTION, objects_in
from eval.benches.files import read_json
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, pairs, percent
from eval.uncertainty import Total, average, share


@dataclass(frozen=True)
class Scene:
    objects: frozenset[str]  # that are in the picture
    names: tuple[str, ...]  # of all objects of the world


def load(paths: Sequence[Path]) -> list[Question]:
    """Questions from the demo's `truth_*.json`."""
    questions = []
    for world in map(read_json, paths):
        names = tuple(world["objects"])
        questions += [
            Question(scene["id"], QUESTION, (scene["image"],), Scene(frozenset(scene["objects"]), names))
            for scene in world["scenes"]
        ]
    return questions


def score(questions: Sequence[Question], answers: Answers) -> Scored:
    """Rates over all answers."""
    per_item = []
    for question, text in pairs(questions, answers):
        scene = question.truth
        named = objects_in(text, scene.names)
        per_item.append(
            {
                "id": question.id,
                "response": text,
                "mentions": len(named),
                "invented": [word for word in named if word not in scene.objects],
                "covered": sorted(scene.objects & set(named)),
                "num_objects": len(scene.objects),
            }
        )
    hal = percent(sum(bool(item["invented"]) for item in per_item), len(per_item))
    metrics = {
        "CHAIR_i": percent(sum(len(i["invented"]) for i in per_item), sum(i["mentions"] for i in per_item)),
        "CHAIR_s": hal,
        "Hal": hal,
        "Cover": percent(sum(len(i["covered"]) for i in per_item), sum(i["num_objects"] for i in per_item)),
    }
    return Scored(
        metrics, per_item, "the demo world's own: objects are found by their names, plurals included"
    )


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample."""
    invented, covered = ([len(item[name]) for item in items] for name in ("invented", "covered"))
    hal = 100 * average(total, [count > 0 for count in invented])
    mentions, objects = ([item[name] for item in items] for name in ("mentions", "num_objects"))
    return {
        "CHAIR_i": share(total, invented, mentions),
        "CHAIR_s": hal,
        "Hal": hal,
        "Cover": share(total, covered, objects),
    }
