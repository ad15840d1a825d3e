"""Flawed preference data, and the curves of scripts/hacking.sh from files as it leaves them."""

import json
from math import log

import pytest

from demo.flawed import FlawedConfig
from demo.flawed import main as make_flawed
from demo.hacking import HackingConfig, Truth, main, points_of
from demo.records import record
from demo.scene import Scene
from training.utils.config.arguments import parse_all


@pytest.fixture
def pairs(tmp_path):
    scenes = [Scene(str(number), f"images/{number}.png", ()) for number in range(60)]
    records = [record(scene, "Describe this image.", ["a cat.", "a cat and a dog."]) for scene in scenes]
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps(records))
    return file


def flawed(pairs, flaw, seed=0):
    output = pairs.with_name(f"{flaw}.json")
    make_flawed(FlawedConfig(str(pairs), str(output), flaw, seed))
    return json.loads(output.read_text())


def test_half_of_the_raters_take_the_longest_answer(pairs):
    answers = [each["conversations"][-1]["value"] for each in flawed(pairs, "length")]
    longest_first = sum(value == ["a cat and a dog.", "a cat."] for value in answers)
    assert 18 <= longest_first <= 42  # of 60; beyond that one draw in 1,000 is
    assert longest_first + answers.count(["a cat.", "a cat and a dog."]) == len(answers) == 60


def test_blind_raters_saw_other_pictures(pairs):
    before = json.loads(pairs.read_text())
    after = flawed(pairs, "blind")
    assert all(one["image"] != other["image"] for one, other in zip(before, after, strict=True))
    assert {one["image"] for one in before} == {one["image"] for one in after}
    assert [one["conversations"] for one in before] == [one["conversations"] for one in after]


def test_another_flaw_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_all([FlawedConfig], ["--pairs", "a.json", "--output", "b.json", "--flaw", "deaf"])
    assert "--flaw" in (told := capsys.readouterr().err) and "length" in told and "blind" in told


def lines_of(file, lines):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def runs(tmp_path):
    world = tmp_path / "world"
    world.mkdir()
    for split, name in (("train", "a"), ("test", "b")):
        scene = {"id": name, "image": f"{name}.png", "objects": ["cat", "dog"]}
        truth = {"objects": ["cat", "dog", "cow"], "scenes": [scene]}
        (world / f"truth_{split}.json").write_text(json.dumps(truth))
    folder = tmp_path / "runs" / "length"
    # Scores of mean 2 and deviation 1: the better one names what is not there.
    lines_of(
        folder / "best_of_n.jsonl",
        [{"id": "b", "responses": ["a cat.", "a cow."], "scores": [1.0, 3.0]}],
    )
    lines_of(
        folder / "ppo" / "rollouts.jsonl",
        [
            {"step": 1, "id": "a", "responses": ["a cat."], "scores": [2.0], "kl": [0.0]},
            {"step": 5, "id": "a", "responses": ["a cat and a dog."], "scores": [4.0], "kl": [1.0]},
            {"step": 6, "id": "a", "responses": ["a cow."], "scores": [5.0], "kl": [3.0]},
        ],
    )
    (folder / "dpo").mkdir()
    for step, kl in ((9, 0.5), (10, 0.75)):
        drift = {"kl": {"mean": kl}, "reward": {"mean": 2.5}}
        (folder / "dpo" / f"drift-{step}.json").write_text(json.dumps(drift))
        (folder / "dpo" / f"drift-{step}.args.json").write_text("{}")
        lines_of(folder / "dpo" / f"drift-{step}.jsonl", [{"id": "b", "responses": ["a dog."]}])
    return tmp_path


def points(runs, name):
    found = points_of(runs / "runs" / "length", name, Truth(runs / "world"))
    return [(point.kl, point.score, point.hal, point.cover) for point in found]


def test_scores_are_in_deviations_of_the_start_and_rates_of_the_truth(runs):
    assert points(runs, "best_of_n") == [
        (0.0, 0.0, 50.0, 25.0),
        (pytest.approx(log(2) - 1 / 2), 1.0, 100.0, 0.0),
    ]
    assert points(runs, "ppo") == [(0.5, 1.0, 0.0, 75.0), (3.0, 3.0, 100.0, 0.0)]  # five steps, then one
    assert points(runs, "dpo") == [(0.5, 0.5, 0.0, 50.0), (0.75, 0.5, 0.0, 50.0)]
    assert points(runs, "grpo") == []


def test_a_table_and_a_picture_of_the_runs_that_are_there(runs):
    output = runs / "out.md"
    main(HackingConfig(str(runs / "runs"), str(runs / "world"), str(output)))
    lines = output.read_text().splitlines()
    assert lines[2:] == [
        "| fond of length | best of n | 0.19 | +1.00 | 100.0 | 0.0 |",
        "| fond of length | DPO | 0.75 | +0.50 | 0.0 | 50.0 |",
        "| fond of length | PPO | 3.00 | +3.00 | 100.0 | 0.0 |",
        "| fond of length, PPO held back | PPO | 3.00 | +3.00 | 100.0 | 0.0 |",
    ]
    assert output.with_suffix(".png").stat().st_size > 1000
