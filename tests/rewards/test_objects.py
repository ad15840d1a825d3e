"""Rewards of what a response names, against what its picture holds: right values, of the right picture."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rewards.test_answers import config, record
from training.rewards.functions import reward_functions, try_rewards
from training.rewards.objects import read_truth
from training.utils.config.sampled_config import SampleScoreConfig
from training.utils.data.record import DataError
from training.utils.run.identity import identify


@pytest.fixture
def coco(tmp_path):
    """A dog and, by a caption, a ball in picture 7."""
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    instances = {"annotations": [{"image_id": 7, "category_id": 1}], "categories": categories, "images": []}
    captions = {"annotations": [{"image_id": 7, "caption": "A puppy with a ball."}], "images": []}
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    (tmp_path / "synonyms.txt").write_text("dog, puppy\ncat, kitten\nsports ball, ball\nfrisbee\n")
    truth = f"{tmp_path / 'instances.json'} {tmp_path / 'captions.json'}"
    return {"truth": truth, "synonyms": str(tmp_path / "synonyms.txt")}


TEXTS = ["A puppy.", "Dogs, a ball and a cat.", "A kitten with a frisbee.", "Nothing."]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("chair", [0, -1 / 3, -1, 0]),
        ("recall", [0.5, 1, 0, 0]),
        ("amber", [0.5, 2 / 3, -1, 0]),
    ],
)
def test_objects_against_coco(name, values, coco):
    (function,) = reward_functions(config(name, **coco)).values()
    asked = record(name="of-train", images=(Path("COCO_train2014_000000000007.jpg"),))
    assert function(asked, TEXTS) == pytest.approx(values)


def test_the_number_of_a_picture_of_coco_counts_before_an_id_that_looks_like_one(coco):
    """A record without an id has its place in the file as one, and COCO has pictures of such numbers."""
    truth = read_truth(**coco)
    seven, eight = Path("COCO_train2014_000000000007.jpg"), Path("000000000008.jpg")
    assert truth.of(record(name="8", images=(seven,))) == {"dog", "sports ball"}
    for other in (record(images=(eight,)), record(images=(eight, seven)), record(images=(Path("dog.png"),))):
        with pytest.raises(DataError, match="says nothing of its picture"):
            truth.of(other)
    of_bytes = record(images=(b"",))
    assert truth.of(of_bytes) == {"dog", "sports ball"}
    with pytest.raises(DataError, match=r"says nothing of its picture \(no name\)"):
        truth.of(replace(of_bytes, is_named=False))


def test_objects_against_a_demo_world(tmp_path):
    scenes = [{"id": "s1", "objects": ["dog"]}, {"id": "empty", "objects": []}]
    world = {"objects": ["dog", "cat", "hot dog"], "scenes": scenes}
    (tmp_path / "truth_train.json").write_text(json.dumps(world))
    (function,) = reward_functions(config("amber", truth=str(tmp_path / "truth_train.json"))).values()
    assert function(record(name="s1"), ["Two dogs.", "A dog and a hot dog.", "A cat."]) == [1, 0.5, -1]
    assert function(record(name="empty"), ["A cat.", "Nothing."]) == [0, 1]
    with pytest.raises(DataError, match="--truth says nothing of its picture"):
        function(record(name="s2"), ["A dog."])
    unnamed = replace(record(name="s1", images=(Path("empty.png"),)), is_named=False)
    assert function(unnamed, ["A cat."]) == [0]


def test_truth_that_is_missing_is_told_before_a_run(coco, tmp_path):
    with pytest.raises(DataError, match=r"--truth .*none.json: no such file"):
        reward_functions(config("chair", truth=str(tmp_path / "none.json")))
    with pytest.raises(DataError, match="expected CHAIR's --synonyms too"):
        reward_functions(config("chair", truth=coco["truth"]))
    known, unknown = record(name="7"), record(name="8", images=(Path("000000000008.jpg"),))
    try_rewards(config("chair", "length", **coco), [known])
    with pytest.raises(DataError, match=r"says nothing of its picture \(8\)"):
        try_rewards(config("chair", **coco), [known] * 99 + [unknown])
    with pytest.raises(DataError, match="has no label to check an answer against"):
        try_rewards(config("exact"), [known])


def test_another_truth_makes_another_run_also_where_answers_count_alone(coco, tiny_llava, encoder, tmp_path):
    def identity(**more):
        given = {"from_checkpoint": str(tiny_llava), "data_path": "x", "output_path": "y", **coco}
        return identify(SampleScoreConfig(**given | more, reward_functions=["chair"]), encoder)

    before = identity()
    (tmp_path / "moved").mkdir()
    moved = Path(coco["synonyms"]).rename(tmp_path / "moved" / "synonyms.txt")
    assert identity(synonyms=str(moved)).differences(before) == []
    moved.write_text(moved.read_text() + "sheep\n")
    (told,) = identity(synonyms=str(moved)).differences(before)
    assert told.startswith("--synonyms: content")
