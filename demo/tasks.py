"""What a world is tested by, in the benchmarks' own files: POPE, AMBER, and questions with labels."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from demo.questions import KINDS
from demo.records import record
from demo.scene import Scene
from demo.words import is_there
from eval.benches.descriptions import QUESTION

POPE_KINDS = ("random", "popular", "adversarial")
PER_SCENE = 2  # questions with yes, and as many with no, of each of POPE's files
LABELLED = ("count", "choice")  # kinds of questions with files of their own
AMBER_TYPES = {
    "state": "discriminative-attribute-state",
    "number": "discriminative-attribute-number",
    "relation": "relation",
}


@dataclass(frozen=True)
class Statistics:
    """How often names come, alone and together, in the scenes to train on."""

    alone: Mapping[str, int]
    together: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, scenes: Sequence[Scene]) -> "Statistics":
        kinds = [list(scene.counts) for scene in scenes]
        return cls(
            Counter(name for names in kinds for name in names),
            Counter(pair for names in kinds for pair in permutations(names, 2)),
        )

    def absent(self, kind: str, scene: Scene, names: Sequence[str], rng: random.Random) -> list[str]:
        """Names that are not in a scene, those that POPE asks for first in front (arXiv 2305.10355, section 5.1)."""
        absent = scene.absent(names)
        rng.shuffle(absent)
        if kind == "popular":
            absent.sort(key=lambda name: -self.alone.get(name, 0))
        elif kind == "adversarial":
            absent.sort(key=lambda name: -sum(self.together.get((here, name), 0) for here in scene.counts))
        return absent


def pope(
    scenes: Sequence[Scene], names: Sequence[str], statistics: Statistics, rng: random.Random
) -> dict[str, list[dict]]:
    """POPE's three files: the yes questions are the same, the no questions ask for other absent objects."""
    files: dict[str, list[dict]] = {kind: [] for kind in POPE_KINDS}
    for scene in scenes:
        number = min(PER_SCENE, len(scene.counts))
        there = rng.sample(list(scene.counts), number)
        for kind, lines in files.items():
            absent = statistics.absent(kind, scene, names, rng)[:number]
            for name, label in [*((name, "yes") for name in there), *((name, "no") for name in absent)]:
                asked = {"image": scene.image, "text": is_there(name), "label": label}
                lines.append({"question_id": len(lines) + 1} | asked)
    return files


def amber(
    scenes: Sequence[Scene], names: Sequence[str], partner: Mapping[str, str], rng: random.Random
) -> dict[str, object]:
    """AMBER's folder `data` (arXiv 2311.07397): descriptions, and questions of existence, attribute and relation."""
    notes, queries = [], []

    def ask(scene: Scene, text: str, kind: str, truth: object, **more) -> None:
        number = len(notes) + 1
        queries.append({"id": number, "image": scene.image, "query": text})
        notes.append({"id": number, "type": kind, "truth": truth} | more)

    for scene in scenes:
        absent = scene.absent(names)
        tempting = scene.tempting(partner, absent)
        ask(scene, QUESTION, "generative", list(scene.counts), hallu=tempting)
        ask(scene, is_there(rng.choice(tempting or absent)), "discriminative-hallucination", "no")
        for kind, name in AMBER_TYPES.items():
            if asked := KINDS[kind](scene, absent, rng):
                ask(scene, asked.text, name, asked.answer.lower().rstrip("."))
    return {
        "annotations": notes,
        "query/query_all": queries,
        "relation": {name: [] for name in names},
    }


def labelled(kind: str, scenes: Sequence[Scene], names: Sequence[str], rng: random.Random) -> list[dict]:
    """Questions of one kind with labels, for `exact_match`, `multiple_choice` and exact rewards.

    Of each label the first ones, as many as of any other: else who says what is usual would mostly be right, and
    rewards would teach just that.
    """
    asked = []
    for scene in scenes:
        if found := KINDS[kind](scene, scene.absent(names), rng):
            asked.append(record(scene, found.text, name=f"{scene.id}-{kind}", label=found.answer))
    each = min(Counter(question["label"] for question in asked).values(), default=0)
    records, kept = [], Counter()
    for question in asked:
        kept[question["label"]] += 1
        if kept[question["label"]] <= each:
            records.append(question)
    return records
