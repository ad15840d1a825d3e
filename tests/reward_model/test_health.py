"""The health report of a reward model, against figures worked by hand and models of known faults."""

import json
import random
from dataclasses import replace
from math import log

import pytest

from tests.conftest import RECORDS, SAMPLES, record
from tests.stages.test_variants import settings
from training.reward_model.health import (
    Pair,
    accuracy,
    by,
    calibration,
    health_report,
    length_group,
    looks_at_pictures,
    pairs_of,
)
from training.reward_model.health_page import as_text
from training.reward_model.score import main as score
from training.reward_model.score import with_blank_images
from training.reward_model.train_rm import main as train_rm
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.stage_config import RewardConfig
from training.utils.data.record import DataError
from training.utils.loop.image_effect import with_others_images


def pair(margin, longer_by=0, source="a"):
    return Pair(source, longer_by, margin)


def test_pairs_are_all_that_the_record_orders():
    """Three listed answers make three pairs; scores 1, 1, 0 two, and the tie none."""
    one = record("Q", "a b c", "d", "e f")
    listed = pairs_of([one], [[3.0, 1.0, 2.0]])
    assert [(p.margin, p.longer_by) for p in listed] == [(2.0, 2), (1.0, 1), (-1.0, -1)]
    scored = pairs_of([replace(one, scores=(1.0, 1.0, 0.0))], [[3.0, 1.0, 2.0]])
    assert [p.margin for p in scored] == [1.0, -1.0]


def test_accuracy_by_group_worked_by_hand():
    pairs = [pair(1.0), pair(-1.0), pair(0.0), pair(2.0, source="b")]
    assert accuracy(pairs) == pytest.approx(62.5)
    assert by(pairs, lambda p: p.source) == {
        "a": {"accuracy": 50.0, "pairs": 3},
        "b": {"accuracy": 100.0, "pairs": 1},
    }


@pytest.mark.parametrize(
    ("longer_by", "name"),
    [
        (-11, "0 shorter by more than 10"),
        (-10, "1 -10 to -4 words"),
        (-1, "2 -3 to -1 words"),
        (0, "3 +0 to +2 words"),
        (3, "4 +3 to +9 words"),
        (10, "5 longer by 10 or more"),
    ],
)
def test_groups_of_length(longer_by, name):
    assert length_group(pair(1.0, longer_by)) == name


def test_calibration_worked_by_hand():
    """Margins of log 3 say 75 %, and three of four are right. Margins of 50 say 100 %: half right is 50 off."""
    honest = [pair(log(3))] * 3 + [pair(-log(3))]
    rows, error = calibration(honest)
    assert rows == [{"confidence": pytest.approx(75), "accuracy": 75.0, "pairs": 4}]
    assert error == pytest.approx(0, abs=1e-9)
    rows, error = calibration([*honest, *[pair(50.0), pair(-50.0)] * 2])
    assert [row["pairs"] for row in rows] == [4, 4] and error == pytest.approx(25)


def test_a_constant_reward_model_is_half_right_and_looks_at_nothing():
    pairs = [pair(0.0)] * 50
    report = health_report({"true": pairs, "shuffled": pairs, "blank": pairs})
    assert report["accuracy"] == {"true": 50.0, "shuffled": 50.0, "blank": 50.0}
    assert report["ties"] == 100 and not report["looks_at_pictures"]


def test_the_report_says_of_each_reward_model_what_it_gives_and_whether_it_looks():
    """With others' pictures both together lose 50 points, as the one that looks does; the other loses nothing."""
    right, coin = [pair(1.0)] * 50, [pair(1.0), pair(-1.0)] * 25
    members = {"a": {"true": right, "shuffled": coin}, "b": {"true": right, "shuffled": right}}
    about = {"a": "a score by a value head", "b": "a verdict, whether an answer is right"}
    report = health_report({"true": right, "shuffled": coin}, about, members)
    looks = {name: found["looks_at_pictures"] for name, found in report["members"].items()}
    assert looks == {"a": True, "b": False}
    page = as_text(report)
    assert "- `b` gives a verdict, whether an answer is right\n" in page
    assert "- `a`: It looks at the pictures: with others' pictures it loses 50.0 points" in page
    assert "- `b`: **It does not look at the pictures**" in page
    assert "| b | 100.0 | 100.0 |" in page


def test_luck_is_not_looking():
    """Two coins disagree often; a reward model that gains 20 points on 400 pairs looks."""
    rng = random.Random(0)
    coins = [[pair(rng.choice([-1.0, 1.0])) for _ in range(400)] for _ in range(2)]
    assert not looks_at_pictures(*coins)
    better = [pair(1.0 if rng.random() < 0.7 else -1.0) for _ in range(400)]
    assert looks_at_pictures(better, coins[0])
    assert not looks_at_pictures(coins[0], better)


def test_pictures_are_exchanged_among_records_with_as_many():
    records = [record(images=(0,)), record(images=(1,)), record(images=()), record(images=(2, 3))]
    with pytest.raises(DataError, match=r"no other record has 2 image\(s\)"):
        with_others_images(records)
    first, second, none = with_others_images(records[:3])
    assert first.images == records[1].images and second.images == records[0].images and none.images == ()
    blank = with_blank_images(records)[3]
    assert [image.size for image in blank.images] == [image.size for image in records[3].images]
    assert len(set(blank.images[0].getdata())) == 1


@pytest.fixture(scope="module")
def trained(tiny_llava, tmp_path_factory):
    """Health reports of two reward models: of one that learned which answer fits which picture, and of one whose
    answers tell by their words alone which is better."""
    folder = tmp_path_factory.mktemp("health")
    answers = ["A red square.", "A blue star."]
    records = json.loads((SAMPLES / "reward.json").read_text())
    pictures = [one["image"] for one in records][:2]
    reports = {}
    for name, fits in (("looking", True), ("text only", False)):
        data = []
        for number in range(42):  # half of them away is the other picture
            which = number % 2
            best = answers[which if fits else 0]
            ranked = [best, *[text for text in answers if text != best]]
            human = {"from": "human", "value": "<image>\nWhat is this?"}
            turns = [human, {"from": "gpt", "value": ranked}]
            data.append({"id": str(number), "image": pictures[which], "conversations": turns})
        file = folder / f"{name}.json"
        file.write_text(json.dumps(data))
        output = folder / name
        more = {
            "image_folder": str(SAMPLES),
            "dataset_samples": "all",
            "max_steps": 60,
            "learning_rate": 3e-3,
        }
        train_rm(RewardConfig(**settings(tiny_llava, file, output, **more)))
        scoring = {"data_path": str(file), "image_folder": str(SAMPLES), "from_checkpoint": str(output)}
        scoring |= {"output_path": str(output / "scores.jsonl"), "health_path": str(output / "health")}
        score(RewardScoreConfig(**scoring))
        reports[name] = json.loads((output / "health" / "report.json").read_text())
    return reports


def test_a_reward_model_that_reads_the_text_alone_is_told_from_one_that_looks(trained):
    looking, text_only = trained["looking"], trained["text only"]
    assert looking["accuracy"]["true"] == 100 and looking["looks_at_pictures"]
    assert looking["accuracy"]["shuffled"] == 0  # each got the other picture
    assert text_only["accuracy"]["true"] == text_only["accuracy"]["shuffled"] == 100
    assert not text_only["looks_at_pictures"]
    assert "It does not look at the pictures" in as_text(text_only)
    assert "It looks at the pictures" in as_text(looking)


def test_text_only_records_have_no_other_pictures(tiny_llava, tmp_path, trained):
    assert set(health_report({"true": pairs_of([RECORDS[2]], [[1.0, 0.0]])})["accuracy"]) == {"true"}
