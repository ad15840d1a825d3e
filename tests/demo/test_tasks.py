"""Questions about a world: their answers are true, and the scorers of the benchmarks read their files."""

import json
import random
from collections import Counter

import pytest

from demo.draw import Thing
from demo.scene import RELATIONS, Scene, middle, scene_of
from demo.tasks import Statistics
from demo.words import NUMBERS
from eval.benches.table import get_bench
from training.utils.answers.mentions import objects_in


@pytest.fixture(scope="module")
def truth(folder):
    return json.loads((folder / "truth_test.json").read_text())


def true_answer(text: str, scene: Scene, names: list[str]) -> str:
    """The answer to any question of the world, read off the scene by other code than that which asked."""
    things = {thing.name: thing for thing in scene.single()}
    if text.startswith("Which of these"):
        options = dict(line.split(". ") for line in text.splitlines()[1:5])
        (letter,) = (letter for letter, name in options.items() if name in scene.counts)
        return letter
    named = objects_in(text, names)
    if text.startswith("How many"):
        return NUMBERS[scene.counts[named[0]]]
    if text.startswith("Is there") and text.endswith("in the image?"):
        is_true = named[0] in scene.counts
    elif "exactly" in text:
        (said,) = (number for number, word in enumerate(NUMBERS) if f" {word} " in text)
        is_true = scene.counts[named[0]] == said
    elif text.startswith("Is the") and len(named) == 2:
        one, other = (middle(things[name]) for name in named)
        (side,) = (side for side in RELATIONS if f" {side} " in text)
        is_true = {
            "to the left of": one[0] < other[0],
            "to the right of": one[0] > other[0],
            "above": one[1] < other[1],
            "below": one[1] > other[1],
        }[side]
    else:
        is_true = f"the {named[0]} {things[named[0]].size}?" in text
    return "yes" if is_true else "no"


def test_every_answer_to_learn_from_and_every_label_is_true(folder):
    truth = json.loads((folder / "truth_train.json").read_text())
    there = {scene.id: scene for scene in map(scene_of, truth["scenes"])}
    kinds, said = set(), []
    for record in json.loads((folder / "questions_train.json").read_text()):
        turns = [turn["value"].removeprefix("<image>\n") for turn in record["conversations"]]
        for text, answer in zip(turns[::2], turns[1::2], strict=True):
            scene = there[record["id"].removesuffix("-questions")]
            assert answer.lower() == true_answer(text, scene, truth["objects"]).lower() + ".", text
            kinds.add(" ".join(text.split()[:2]))
            said += [answer] if text.endswith("in the image?") and text.startswith("Is") else []
    assert kinds >= {"Is there", "How many", "Which of", "Is the", "Are there"}
    assert said.count("Yes.") == said.count("No.") > 100


@pytest.mark.parametrize(
    ("bench", "files"),
    [
        ("pope", ["pope_test"]),
        ("amber", ["amber_test"]),
        ("exact_match", ["count_test.json"]),
        ("multiple_choice", ["choice_test.json"]),
        ("descriptions", ["truth_test.json"]),
    ],
)
def test_the_scorers_of_the_benchmarks_read_the_files_and_the_truth_is_right(folder, truth, bench, files):
    by_image = {scene["image"]: scene_of(scene) for scene in truth["scenes"]}
    bench = get_bench(bench)
    questions = bench.questions([str(folder / file) for file in files])
    answers = {}
    for question in questions:
        scene = by_image[question.images[0]]
        text = question.prompt.removeprefix("<image>\n")
        if text == "Describe this image.":
            answers[question.id] = [", ".join(f"a {name}" for name in scene.counts)]
        else:
            answers[question.id] = [true_answer(text, scene, truth["objects"]).capitalize()]
    metrics = bench.score(questions, answers).metrics
    for name, value in {"accuracy": 100, "F1": 100, "Hal": 0, "CHAIR": 0, "Cover": 100}.items():
        assert metrics.get(name, value) == pytest.approx(value, abs=0.1), name
    assert set(metrics) & {"accuracy", "Hal"}


@pytest.mark.parametrize(("kind", "labels"), [("count", 3), ("choice", 4)])
def test_each_label_is_as_often_right_as_any_other(kind, labels, folder):
    found = Counter(each["label"] for each in json.loads((folder / f"{kind}_train.json").read_text()))
    assert len(found) == labels and len(set(found.values())) == 1 and min(found.values()) > 3


def test_popular_and_adversarial_names_by_hand():
    """cat is in three scenes and dog in two; the bus was only ever seen with the key."""

    def scene(*names: str) -> Scene:
        return Scene("", "", tuple(Thing(name, False, "", (0, 0, 1, 1), 1.0) for name in names))

    statistics = Statistics.of([scene("cat", "dog"), scene("cat", "dog"), scene("cat"), scene("bus", "key")])
    names = ["bus", "key", "dog", "cat", "hat"]
    rng = random.Random(0)
    assert statistics.absent("popular", scene("key"), names, rng)[:2] == ["cat", "dog"]
    assert statistics.absent("adversarial", scene("key"), names, rng)[0] == "bus"
    assert sorted(statistics.absent("random", scene("key"), names, rng)) == ["bus", "cat", "dog", "hat"]
