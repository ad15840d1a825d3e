"""Records to train on, in LLaVA's format: captions, questions with answers, prompts, pairs of captions."""

import random
from collections.abc import Mapping, Sequence

from demo.questions import KINDS, Asked
from demo.scene import Scene
from demo.words import caption, critique, edited, is_there, yes_no
from eval.benches.descriptions import QUESTION

ASKED = 6  # questions about a scene; up to four of them whether something is there
COUNTED = 0.15  # share of scenes with a question of how many there are: few, as it is what GRPO teaches


def record(scene: Scene, *turns: str | list[str], name: str = "", **more) -> dict:
    """A record from turns that alternate between human and gpt."""
    conversations = [{"from": ("human", "gpt")[i % 2], "value": turn} for i, turn in enumerate(turns)]
    conversations[0]["value"] = "<image>\n" + conversations[0]["value"]
    return {"id": name or scene.id, "image": scene.image, "conversations": conversations} | more


def prompts(scenes: Sequence[Scene]) -> list[dict]:
    return [record(scene, QUESTION) for scene in scenes]


def careless(
    counts: Mapping[str, int], partner: Mapping[str, str], bias: float, rng: random.Random
) -> dict[str, int]:
    """What a careless annotator names: now and then a partner that is not there."""
    named = {}
    for name, number in counts.items():
        named[name] = number
        other = partner.get(name)
        if other and other not in counts and rng.random() < bias:
            named[other] = 1
    return named


def captions(
    scenes: Sequence[Scene], partner: Mapping[str, str], bias: float, rng: random.Random
) -> list[dict]:
    """A careless caption of each scene."""
    return [record(scene, QUESTION, caption(careless(scene.counts, partner, bias, rng))) for scene in scenes]


def conversations(
    scenes: Sequence[Scene], names: Sequence[str], partner: Mapping[str, str], rng: random.Random
) -> list[dict]:
    """Some questions about each scene, with true answers."""
    records = []
    for scene in scenes:
        turns = [
            text for asked in questions(scene, names, partner, rng) for text in (asked.text, asked.answer)
        ]
        records.append(record(scene, *turns, name=f"{scene.id}-questions"))
    return records


def questions(
    scene: Scene, names: Sequence[str], partner: Mapping[str, str], rng: random.Random
) -> list[Asked]:
    """Questions about a scene, in any order: whether something is there, yes as often as no, and other kinds."""
    absent = scene.absent(names)
    tempting = scene.tempting(partner, absent)
    there = rng.sample(list(scene.counts), min(2, len(scene.counts)))
    missing = dict.fromkeys([rng.choice(tempting or absent), *rng.sample(absent, 2)])
    asked = [Asked(is_there(name), yes_no(True)) for name in there]
    asked += [Asked(is_there(name), yes_no(False)) for name in list(missing)[: len(there)]]
    kinds = [kind for kind in KINDS if kind != "count"]
    rng.shuffle(kinds)
    if rng.random() < COUNTED:
        kinds.insert(0, "count")
    others = [found for kind in kinds if (found := KINDS[kind](scene, absent, rng))]
    asked += others[: ASKED - len(asked)]
    rng.shuffle(asked)
    return asked


def pairs(scenes: Sequence[Scene], rng: random.Random) -> list[dict]:
    """Edited pairs: a true caption and the same with one object swapped, invented or left out.

    Each edit makes the scene's twin true, and the twin gets the edit back: every pair of captions stands in both
    orders, so the text alone can't tell which is better. Two in three are swaps, the hard ones: they can't be told
    by counting.
    """
    by_id = {scene.id: scene for scene in scenes}
    records = []
    for scene in scenes:
        here, there = scene.counts, by_id[scene.twin].counts
        old = next((name for name in here if name not in there), "")
        new = next((name for name in there if name not in here), "")
        kind = "swapped" if old and new else "invented" if new else "left out"
        wrong = edited(here, old, new, there.get(new, 0), rng.randint(0, len(here)))
        name = f"{scene.id}-{kind.replace(' ', '_')}"
        told = [critique(here, here), critique(wrong, here)]
        ranked = [caption(here), caption(wrong)]
        records.append(record(scene, QUESTION, ranked, name=name, source=kind, critiques=told))
    return records
