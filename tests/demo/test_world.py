"""The demo world keeps its promises."""

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from demo.art import drawings, get_art
from demo.draw import Thing
from demo.pairs import num_errors, ranked
from demo.scene import Scene, reading_order, scene_of
from demo.words import caption, plural
from demo.world import UNSEEN, World, WorldConfig, read_world, write_world
from tests.demo.conftest import SIZES
from training.utils.answers.mentions import objects_in
from training.utils.data.record import DataError


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def scenes(folder, split) -> dict[str, Scene]:
    return {scene.id: scene for scene in map(scene_of, read(folder, f"truth_{split}")["scenes"])}


def test_the_same_seed_gives_the_same_world_and_another_gives_another():
    art = drawings()

    def some(seed):
        world = World(WorldConfig(output="", seed=seed, **SIZES | {"num_val": 4}), art)
        return [(scene, picture.tobytes()) for scene, picture in world.scenes("val")]

    assert some(0) == some(0) != some(1)


def test_what_is_kept_for_a_split_is_in_no_other(folder):
    unseen = set(World(WorldConfig(output="", **SIZES), drawings()).unseen)
    kinds = {
        split: [set(s.counts) for s in scenes(folder, split).values()] for split in ("train", "test", *UNSEEN)
    }
    assert all(names & unseen for names in kinds["test_objects"])
    assert not any(names & unseen for split in ("train", "test", "test_pairs") for names in kinds[split])

    def pairs(names):
        return {frozenset(pair) for pair in combinations(names, 2)}

    seen = set().union(*(pairs(names) for split in ("train", "test") for names in kinds[split]))
    assert all(not pairs(names) <= seen for names in kinds["test_pairs"])


def test_places_of_test_places_are_on_no_other_picture():
    """Backgrounds of one colour each: the places can be read off the pictures."""
    art = drawings()
    art = replace(art, backgrounds=[Image.new("RGB", (60, 60), (25 * i, 0, 0)) for i in range(10)])
    world = World(WorldConfig(output="", **SIZES | {"num_val": 12}), art)

    def reds(split):
        bright = []
        for _, picture in world.scenes(split):
            there = np.asarray(picture).reshape(-1, 3)
            plain = there[(there[:, 1] == 0) & (there[:, 2] == 0)]
            bright.append(Counter(plain[:, 0].tolist()).most_common(1)[0][0])
        return bright

    # 200 and 225 are the last two of ten, lit by 0.75 to 1.15; those before are 175 x 1.15 = 201 at most
    assert min(reds("test_places")) >= 150 and world.new_places == 2
    assert np.mean(reds("val")) < 140 < 180 < np.mean(reds("test_places"))


def test_a_thing_is_where_its_box_says_and_is_seen_as_much_as_it_says(folder):
    art = drawings()
    white = replace(art, backgrounds=[Image.new("RGB", (60, 60), "white")] * 2)
    world = World(WorldConfig(output="", **SIZES | {"num_val": 20}), white)
    for scene, picture in world.scenes("val"):
        values = np.asarray(picture).astype(int)
        paper = np.bincount(values.reshape(-1, 3).max(1)).argmax()
        drawn = np.abs(values - paper).max(2) > 40
        inside = np.zeros_like(drawn)
        for thing in scene.things:
            left, top, right, bottom = (round(edge * len(drawn)) for edge in thing.box)
            inside[top:bottom, left:right] = True
            assert 0.7 <= thing.visible <= 1
        assert not (drawn & ~inside).any()
        assert drawn.any()


def test_captions_invent_partners_as_often_as_they_should(folder):
    truth, there = read(folder, "truth_train"), scenes(folder, "train")
    tempted = invented = 0
    for record in read(folder, "captions_train"):
        objects = set(there[record["id"]].counts)
        absent = {name for kind in objects if (name := truth["partner"].get(kind)) and name not in objects}
        named = set(objects_in(record["conversations"][1]["value"], truth["objects"]))
        tempted += len(absent)
        invented += len(absent & named)
        assert objects <= named <= objects | absent
    # 0.6 of some 350, so a deviation of 0.026
    assert 0.5 < invented / tempted < 0.7


def test_the_text_of_a_pair_does_not_tell_which_answer_is_better(folder):
    """Each pair of captions, as sets of objects, stands as often in one order as in the other."""
    names = read(folder, "truth_train")["objects"]
    balance, kinds = Counter(), Counter()
    for record in read(folder, "pairs_train"):
        better, worse = (frozenset(objects_in(text, names)) for text in record["conversations"][1]["value"])
        balance[better, worse] += 1
        balance[worse, better] -= 1
        kinds[record["source"]] += 1
    assert len(balance) > 200 and not any(balance.values())
    assert kinds["invented"] == kinds["left out"] > 30
    assert kinds["swapped"] > 0.55 * kinds.total()


def test_the_better_answer_of_a_pair_is_true_and_the_worse_has_one_error(folder):
    """A swap counts as two: one object that is not there, one that is not named."""
    names, there = read(folder, "truth_val")["objects"], scenes(folder, "val")
    for record in read(folder, "pairs_val"):
        objects = list(there[record["id"].rsplit("-", 1)[0]].counts)
        errors = [num_errors(text, objects, names) for text in record["conversations"][1]["value"]]
        assert errors == [0, 2 if record["source"] == "swapped" else 1]
        told = [text.count("There is no") + text.count("leaves out") for text in record["critiques"]]
        assert told == errors


def test_captions_read_well():
    assert caption({"apple": 1}) == "an apple."
    assert caption({"cat": 1, "strawberry": 2, "dog": 3}) == "a cat, two strawberries and three dogs."


def test_the_names_of_all_art_are_found_in_both_numbers():
    names = list(drawings().cutouts)
    assert len(names) >= 80
    for name in names:
        assert objects_in(f"a {name} and two {plural(name)}.", names) == [name, name]


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("a cat and a dog.", 0),
        ("a cat.", 1),
        ("a cat, a dog and a bus.", 1),
        ("a bus.", 3),
        ("a cat and a cat.", 2),
        ("a cat, two mice and a dog.", 1),
    ],
)
def test_errors_worked_by_hand(text, errors):
    assert num_errors(text, ["cat", "dog"], ["cat", "dog", "bus", "mouse"]) == errors


def test_answers_with_as_many_errors_are_not_ranked_nor_are_empty_ones():
    answers = ["", "a cat and a bus.", "a cat and a dog.", "a dog and a bus.", "a cat.", " "]
    assert ranked(answers, ["cat", "dog"], ["cat", "dog", "bus"]) == [
        "a cat and a dog.",
        "a cat.",
        "a cat and a bus.",
    ]


def test_relations_worked_by_hand():
    """Middles (0.2, 0.5), (0.7, 0.4) and twice a dog, which `the dog` can't mean: to the right, not above."""
    boxes = {"cat": (0.1, 0.4, 0.3, 0.6), "bus": (0.6, 0.3, 0.8, 0.5)}
    things = [Thing(name, False, "", box, 1.0) for name, box in boxes.items()]
    things += [Thing("dog", False, "", (0, 0, 0.1, 0.1), 1.0)] * 2
    scene = Scene("a", "a.png", tuple(things))
    assert [thing.name for thing in sorted(things, key=reading_order)] == ["dog", "dog", "bus", "cat"]
    assert set(scene.relations()) == {("cat", "to the left of", "bus"), ("bus", "to the right of", "cat")}
    assert scene.counts == {"cat": 1, "bus": 1, "dog": 2}


def test_a_folder_of_cut_outs_is_art_and_what_is_none_is_said(tmp_path):
    for number in range(17):
        cutout = Image.new("RGBA", (20, 10), (10 * number, 90, 50, 255))
        cutout.paste((0, 0, 0, 0), (0, 0, 5, 5))
        cutout.save(tmp_path / f"thing{chr(97 + number)}.png")
    art = get_art(str(tmp_path), tmp_path)
    assert len(art.cutouts) == 17 and art.cutouts["thinga"][0].size == (20, 10)
    with pytest.raises(DataError, match="holds 0 pictures NAME.png"):
        get_art(str(tmp_path / "empty"), tmp_path)


def test_photographs_that_can_not_be_had_are_drawings_or_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert get_art("auto", tmp_path).licence == "CC BY-SA 4.0"
    with pytest.raises(DataError, match="use --art drawings, or a folder"):
        get_art("photographs", tmp_path)


def test_a_world_is_read_again_with_the_art_it_was_made_of(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no photographs on this day
    sizes = dict(num_names=16, num_train=2, num_val=2, num_test=2, num_new=2, picture_px=32)
    config = WorldConfig(output=str(tmp_path / "world"), art="auto", art_folder=str(tmp_path), **sizes)
    write_world(config)
    world = read_world(tmp_path / "world")
    assert world.config == replace(config, art="drawings")
    with pytest.raises(DataError, match="expected 2 or more of each"):
        World(replace(config, max_kinds=1), world.art)


def test_what_is_no_picture_is_said(tmp_path):
    (tmp_path / "cat.png").write_text("no picture")
    with pytest.raises(DataError, match="cat.png is no picture"):
        get_art(str(tmp_path), tmp_path)
