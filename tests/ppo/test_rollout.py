"""What is sampled in a step does not depend on how its prompts are cut into batches."""

import json
from contextlib import contextmanager

import pytest

from tests.conftest import SAMPLES, picture
from tests.stages.test_variants import settings
from training.ppo.train_ppo import main as train_ppo
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.model.generate import generate
from training.utils.rollouts import own, responder


def length(record, responses):
    return [float(len(text)) for text in responses]


def ppo(tiny_llava, output, **more):
    run = {"reward_functions": [f"{__name__}:length"], "advantage_estimator": "rloo", "num_generations": 2}
    run |= {"max_steps": 2, "max_generation_length_of_sampling": 6, "actor_learning_rate": 0.0}
    train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", output, **run | more)))
    lines = jsonl.read(output / "rollouts.jsonl")
    return sorted((line["step"], line["id"], line["responses"]) for line in lines)


@pytest.fixture
def calls(monkeypatch):
    """How many prompts each call of generation had."""
    sizes = []

    def counted(policy, prompts, *args):
        sizes.append(len(prompts))
        return generate(policy, prompts, *args)

    monkeypatch.setattr(own, "generate", counted)
    return sizes


def test_all_prompts_of_a_step_are_answered_in_one_call_and_any_cut_gives_the_same(
    tiny_llava, tmp_path, calls
):
    whole = ppo(tiny_llava, tmp_path / "whole", dataset_samples="8")
    assert calls == [8, 8, 8]  # two steps, and a look at the end whether the pictures matter
    calls.clear()
    cut = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_minibatches": 2}
    assert ppo(tiny_llava, tmp_path / "cut", **cut) == whole
    assert calls == [8, 8, 8]
    calls.clear()
    assert ppo(tiny_llava, tmp_path / "three", rollout_batch_size=3, **cut) == whole
    assert calls == [3, 3, 2] * 3


def test_held_out_prompts_are_answered_many_at_a_time_and_any_cut_scores_the_same(
    tiny_llava, tmp_path, calls
):
    found = []
    records = json.loads((SAMPLES / "ppo.json").read_text())[:7]
    (tmp_path / "held_out.json").write_text(json.dumps(records))
    held_out = {
        "eval_data_path": str(tmp_path / "held_out.json"),
        "image_folder": str(SAMPLES),
        "max_steps": 1,
    }
    for number, cut in enumerate(({}, {"rollout_batch_size": 4, "per_device_eval_batch_size": 3})):
        ppo(tiny_llava, tmp_path / str(number), **held_out, **cut)
        log = jsonl.read(tmp_path / str(number) / "log.jsonl")
        found += [line["eval_reward"] for line in log if "eval_reward" in line]
    assert calls == [8, 7, 7, 4, 4, 4, 3, 4, 3]  # the last answers of each run: whether the pictures matter
    assert found[0] == pytest.approx(found[1], rel=1e-6)


EVENTS = []


def watched(record, responses):
    EVENTS.append("scored")
    return length(record, responses)


def test_the_engine_wakes_once_for_the_held_out_prompts_in_memory_and_sleeps_while_they_are_scored(
    tiny_llava, tmp_path, monkeypatch
):
    """Whenever it wakes, all weights go over. Seven prompts in batches of two, where memory holds four."""
    EVENTS.clear()

    @contextmanager
    def awake(self):
        EVENTS.append("wakes")
        yield
        EVENTS.append("sleeps")

    monkeypatch.setattr(own.OwnEngine, "awake", awake)
    monkeypatch.setattr(responder, "HELD", 4)
    records = json.loads((SAMPLES / "ppo.json").read_text())[:7]
    (tmp_path / "held_out.json").write_text(json.dumps(records))
    held_out = {"eval_data_path": str(tmp_path / "held_out.json"), "image_folder": str(SAMPLES)}
    held_out |= {"per_device_eval_batch_size": 2, "reward_functions": [f"{__name__}:watched"], "max_steps": 1}
    ppo(tiny_llava, tmp_path / "out", rollout_batch_size=2, **held_out)
    scoring = ["wakes", "sleeps", *["scored"] * 4, "wakes", "sleeps", *["scored"] * 3]
    looking = ["wakes", "sleeps"] * 2  # at last it gives answers that show whether pictures matter
    assert EVENTS[10:] == [*scoring, *looking]


VANISHING = []  # files that the reward takes away


def vanish(record, responses):
    while VANISHING:
        VANISHING.pop().unlink()
    return length(record, responses)


@pytest.mark.parametrize("skips", [True, False])
def test_a_held_out_picture_that_vanishes_in_the_run_is_passed_over_or_named(skips, tiny_llava, tmp_path):
    records = json.loads((SAMPLES / "ppo.json").read_text())[:3]
    for number, record in enumerate(records):
        picture(number).save(tmp_path / f"{number}.png")
        record["image"] = str(tmp_path / f"{number}.png")
    (tmp_path / "held_out.json").write_text(json.dumps(records))
    (tmp_path / "train.json").write_text(json.dumps(records))
    run = {"data_path": str(tmp_path / "train.json"), "eval_data_path": str(tmp_path / "held_out.json")}
    run |= {"image_folder": str(tmp_path), "reward_functions": [f"{__name__}:vanish"], "max_steps": 1}
    VANISHING.append(tmp_path / "1.png")
    if skips:
        assert len(ppo(tiny_llava, tmp_path / "out", **run, on_bad_record="skip")) > 0
        assert any("eval_reward" in line for line in jsonl.read(tmp_path / "out" / "log.jsonl"))
    else:
        with pytest.raises(DataError, match=r"held_out.json\[1\].*1.png"):
            ppo(tiny_llava, tmp_path / "out", **run)
