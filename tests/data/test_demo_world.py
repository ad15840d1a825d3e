"""The demo world keeps its promises."""

import json
from collections import Counter
from itertools import combinations

import pytest
from PIL import Image

from data.demo_pairs import ranked
from data.demo_text import caption, num_errors, objects_in
from data.demo_world import SPLITS, World, WorldConfig, object_name, write_world

CONFIG = dict(num_train=600, num_val=60, num_test=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    output = tmp_path_factory.mktemp("world")
    write_world(WorldConfig(output=str(output), **CONFIG))
    return output


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def test_the_same_seed_gives_the_same_world_and_another_gives_another(folder, tmp_path):
    write_world(WorldConfig(output=str(tmp_path), **CONFIG))
    files = sorted(file.name for file in folder.glob("*.json"))
    assert files and all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in files)
    assert (folder / "images/val-00003.png").read_bytes() == (tmp_path / "images/val-00003.png").read_bytes()
    assert (
        World(WorldConfig(output="", seed=1, **CONFIG)).scenes
        != World(WorldConfig(output="", **CONFIG)).scenes
    )


def test_no_scene_is_in_two_splits_and_new_pairs_are_in_test_new_alone(folder):
    scenes = {split: World(WorldConfig(output="", **CONFIG)).scenes[split] for split in SPLITS}
    keys = [(scene.objects, scene.cells) for split in SPLITS for scene in scenes[split]]
    assert len(keys) == len(set(keys))

    def pairs(split):
        return [{frozenset(p) for p in combinations(scene.objects, 2)} for scene in scenes[split]]

    seen = set().union(*pairs("train"), *pairs("val"), *pairs("test"))
    assert all(not together <= seen for together in pairs("test_new"))


def test_the_truth_is_what_the_picture_shows(folder):
    """A picture without an object differs from it in that object's cell only: here, each has as many blobs."""
    for scene in read(folder, "truth_val")["scenes"][:20]:
        picture = Image.open(folder / scene["image"]).convert("RGB")
        background = max(picture.getcolors(100_000))[1]
        cells = [picture.crop((x, y, x + 32, y + 32)) for y in (0, 32, 64) for x in (0, 32, 64)]
        filled = sum(any(colour != background for _, colour in cell.getcolors(2000)) for cell in cells)
        assert filled == len(scene["objects"])


def test_captions_invent_partners_as_often_as_they_should(folder):
    truth = read(folder, "truth_train")
    objects = {scene["id"]: scene["objects"] for scene in truth["scenes"]}
    tempted = invented = 0
    for record in read(folder, "sft_train"):
        text = record["conversations"][1]["value"]
        if record["conversations"][0]["value"].endswith("Describe this image."):
            there = objects[record["id"]]
            absent = [p for name in there if (p := truth["partner"].get(name)) and p not in there]
            named = objects_in(text, truth["objects"])
            tempted += len(absent)
            invented += sum(partner in named for partner in absent)
            assert set(there) <= set(named) <= {*there, *absent}
    assert 0.6 < invented / tempted < 0.8


def test_the_text_of_a_pair_does_not_tell_which_answer_is_better(folder):
    """Each pair of captions, as sets of objects, stands as often in one order as in the other."""
    names = read(folder, "truth_train")["objects"]
    balance, kinds = Counter(), Counter()
    for record in read(folder, "pairs_train"):
        better, worse = (frozenset(objects_in(text, names)) for text in record["conversations"][1]["value"])
        balance[better, worse] += 1
        balance[worse, better] -= 1
        kinds[record["id"].rsplit("-", 1)[1]] += 1
    assert len(balance) > 200 and not any(balance.values())
    assert kinds["invented"] == kinds["left_out"] > 50
    assert kinds["swapped"] > 0.55 * kinds.total()


def test_the_better_answer_of_a_pair_is_true_and_the_worse_has_one_error(folder):
    """A swap counts as two: one object that is not there, one that is not named."""
    truth = read(folder, "truth_val")
    objects = {scene["id"]: scene["objects"] for scene in truth["scenes"]}
    for record in read(folder, "pairs_val"):
        scene, _, kind = record["id"].rsplit("-", 2)
        errors = [
            num_errors(text, objects[scene], truth["objects"]) for text in record["conversations"][1]["value"]
        ]
        assert errors == [0, 2 if kind == "swapped" else 1]


def test_every_label_of_a_question_is_true(folder):
    truth = read(folder, "truth_test")
    objects = {scene["id"]: scene["objects"] for scene in truth["scenes"]}
    for record in read(folder, "pope_test"):
        (named,) = objects_in(record["conversations"][0]["value"], truth["objects"])
        assert (named in objects[record["id"].rsplit("-", 1)[0]]) == (record["label"] == "yes")


def test_object_names_are_different_single_words():
    names = [object_name(character) for character in WorldConfig(output="").objects]
    assert len(set(names)) == 32
    assert all(
        objects_in(text, names) == [name] for name in names for text in (f"a {name}.", f"Two {name}s!")
    )


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("a cat and a dog.", 0),
        ("a cat.", 1),
        ("a cat, a dog and a bus.", 1),
        ("a bus.", 3),
        ("a cat and a cat.", 2),
    ],
)
def test_errors_worked_by_hand(text, errors):
    assert num_errors(text, ["cat", "dog"], ["cat", "dog", "bus"]) == errors


def test_answers_with_as_many_errors_are_not_ranked():
    answers = ["a cat and a bus.", "a cat and a dog.", "a dog and a bus.", "a cat."]
    assert ranked(answers, ["cat", "dog"], ["cat", "dog", "bus"]) == [
        "a cat and a dog.",
        "a cat.",
        "a cat and a bus.",
    ]


def test_captions_read_well():
    assert caption(["apple"]) == "an apple."
    assert caption(["cat", "apple", "dog"]) == "a cat, an apple and a dog."
