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

from eval.benches.files import read_json
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, pairs, percent
from eval.uncertainty import Total, average, share
from training.utils.answers.mentions import objects_in

QUESTION = "Describe this image."


@dataclass(frozen=True)
class Scene:
    objects: frozenset[str]  # that are in the picture
    names: tuple[str, ...]  # of all objects of the world


def load(paths: Sequence[Path]) -> list[Question]:
    """Questions from the demo's `truth_*.json`."""
    questions = []
    for path in paths:
        world = read_json(path)
        names, part = tuple(world["objects"]), path.stem.removeprefix("truth_")
        questions += [
            Question(
                scene["id"], QUESTION, (scene["image"],), Scene(frozenset(scene["objects"]), names), part
            )
            for scene in world["scenes"]
        ]
    return questions


def score(questions: Sequence[Question], answers: Answers) -> Scored:
    """Rates over all answers, and over those of each file where there are several."""
    per_item = []
    for question, text in pairs(questions, answers):
        asked = {"id": question.id, "part": question.group, "response": text}
        per_item.append(asked | named(text, question.truth))
    parts = dict.fromkeys(item["part"] for item in per_item)
    groups = {part: figures([item for item in per_item if item["part"] == part]) for part in parts}
    variant = "the demo world's own: objects are found by their names, plurals included"
    return Scored(figures(per_item), per_item, variant, groups if len(groups) > 1 else {})


def named(text: str, scene: Scene) -> dict:
    """What an answer names of a scene, and what besides."""
    mentions = objects_in(text, scene.names)
    return {
        "mentions": len(mentions),
        "invented": [word for word in mentions if word not in scene.objects],
        "covered": sorted(scene.objects & set(mentions)),
        "num_objects": len(scene.objects),
    }


def figures(items: Sequence[dict]) -> dict[str, float]:
    hal = percent(sum(bool(item["invented"]) for item in items), len(items))
    return {
        "CHAIR_i": percent(sum(len(i["invented"]) for i in items), sum(i["mentions"] for i in items)),
        "CHAIR_s": hal,
        "Hal": hal,
        "Cover": percent(sum(len(i["covered"]) for i in items), sum(i["num_objects"] for i in items)),
    }


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
