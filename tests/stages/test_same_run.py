"""A run goes on only as the run that it is; another one in its folder is refused by name, or set aside."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import SAMPLES, picture
from tests.stages.conftest import log, weights
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.train_rm import main as train_rm
from training.sft.train_sft import main as train_sft
from training.utils.checkpoint.claim import AlreadyFinished
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import RewardConfig, SFTConfig
from training.utils.data.record import DataError
from training.utils.files.model_folder import weights_digest


def settings(folder, **more) -> dict:
    """Two steps of SFT on what lies in `folder`, a checkpoint after the first."""
    shared = {
        "from_checkpoint": str(folder / "model"),
        "data_path": str(folder / "data.json"),
        "image_folder": str(folder),
        "output_dir": str(folder / "out"),
        "resume": "auto",
        "data_train_split_ratio": 1.0,
        "per_device_train_batch_size": 2,
        "max_steps": 2,
        "save_step": 1,
        "learning_rate": 1e-3,
    }
    return shared | more


def sft(folder, **more) -> None:
    train_sft(SFTConfig(**settings(folder, **more)))


def record(folder, output="out") -> dict:
    return json.loads((folder / output / "args.json").read_text())


@pytest.fixture(scope="module")
def begun(tiny_llava, tmp_path_factory):
    """Model, data and pictures, and a finished run on them."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copytree(tiny_llava, folder / "model")
    shutil.copytree(SAMPLES / "images", folder / "images")
    (folder / "data.json").write_text(json.dumps(json.loads((SAMPLES / "sft.json").read_text())[:4]))
    sft(folder)
    return folder


@pytest.fixture
def finished(begun, tmp_path):
    """A copy of it elsewhere: where things lie is no part of a run."""
    shutil.copytree(begun, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def stopped(finished):
    """The same run, stopped after its first step."""
    (finished / "out" / "finished").unlink()
    shutil.rmtree(finished / "out" / "epoch-0")
    (finished / "out" / "latest").write_text("checkpoint-1\n")
    return finished


def other_data(folder):
    records = json.loads((folder / "data.json").read_text())
    records[0]["conversations"][1]["value"] += " Indeed."
    (folder / "data.json").write_text(json.dumps(records))


def other_picture(folder):
    name = json.loads((folder / "data.json").read_text())[0]["image"]
    picture(7).save(folder / name)


def other_weights(folder):
    file = folder / "model" / "model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, file, {"format": "pt"})


def other_chat_template(folder):
    file = folder / "model" / "chat_template.jinja"
    file.write_text(file.read_text() + "{# #}")


@pytest.mark.parametrize(
    ("more", "change", "found"),
    [
        ({"learning_rate": 5e-3}, None, "--learning_rate 0.001, and this run has 0.005"),
        ({"per_device_train_batch_size": 4}, None, "global batch size 2, and this run has 4"),
        ({"seed": 1}, None, "--seed 1234, and this run has 1"),
        ({"dataset_samples": "3"}, None, "--dataset_samples all, and this run has 3"),
        ({"template": "vicuna"}, None, "--template auto, and this run has vicuna"),
        ({}, other_data, "--data_path: content [0-9a-f]{12}, and this run has [0-9a-f]{12}"),
        ({}, other_picture, "--image_folder: pictures"),
        ({}, other_weights, "--from_checkpoint: weights"),
        ({}, other_chat_template, "--from_checkpoint: config, tokenizer and processor"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_stopped_run_does_not_go_on_as_another(more, change, found, stopped):
    if change:
        change(stopped)
    before = record(stopped)
    expected = (
        rf"(?s)out: its run was begun with\n  .*{found}.*\nchoose another --output_dir, or .* --restart"
    )
    with pytest.raises(DataError, match=expected):
        sft(stopped, **more)
    assert record(stopped) == before


def test_a_finished_run_is_not_taken_for_another(finished):
    with pytest.raises(AlreadyFinished, match="finished before; nothing to do"):
        sft(finished, save_step=5)
    other_data(finished)
    with pytest.raises(DataError, match="--data_path: content"):
        sft(finished)


def test_another_stage_does_not_go_on_with_a_run_although_all_flags_that_both_have_are_equal(finished):
    rewards = {"reward_functions": ["tests.ppo.test_rewards:num_characters"], "critic_init": "policy"}
    for _ in ("finished", "stopped"):
        with pytest.raises(DataError, match="stage of training SFT, and this run has PPO"):
            train_ppo(PPOConfig(**settings(finished, **rewards)))
        (finished / "out" / "finished").unlink(missing_ok=True)


def test_what_may_change_may_and_the_record_says_what_trained(stopped, begun):
    """The batch is cut up otherwise, too: the same two records make up each step."""
    (stopped / "data.json").rename(stopped / "model" / "data.json")  # elsewhere
    sft(
        stopped,
        data_path=str(stopped / "model" / "data.json"),
        save_step=7,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=2,
    )
    written = record(stopped)
    assert written["arguments"]["save_step"] == 1 and written["arguments"]["per_device_train_batch_size"] == 2
    first, second = written["starts"]
    assert (first["resumed_from"], first["num_steps"]) == (None, 2)
    assert second["resumed_from"].endswith("checkpoint-1") and second["versions"] and second["time"]
    assert second["changed"]["save_step"] == 7 and second["changed"]["gradient_accumulation_steps"] == 2
    assert "learning_rate" not in second["changed"]
    assert [line["step"] for line in log(stopped / "out") if "lr" in line] == [1, 2]
    for name, tensor in weights(begun / "out").items():
        torch.testing.assert_close(weights(stopped / "out")[name], tensor, atol=1e-4, rtol=0)


def test_more_steps_where_the_first_ones_stay_what_they_were(finished):
    with pytest.raises(
        DataError, match="with 2 steps, and this start asks for 1, but .*checkpoint-1 is past them"
    ):
        sft(finished, max_steps=1)
    with pytest.raises(DataError, match="with 2 steps, and this start asks for 3, .* other learning rates"):
        sft(finished, max_steps=3)  # by the cosine
    whole, longer = ({"output_dir": str(finished / name), "lr_scheduler_type": "constant"} for name in "wl")
    sft(finished, max_steps=3, **whole)
    sft(finished, max_steps=2, **longer)
    sft(finished, max_steps=3, **longer)
    for name, tensor in weights(finished / "w").items():
        assert torch.equal(weights(finished / "l")[name], tensor), name
    assert [start["num_steps"] for start in record(finished, "l")["starts"]] == [2, 3]


def test_a_damaged_checkpoint_is_passed_over_and_the_run_ends_the_same(stopped, begun, capsys):
    shutil.copytree(stopped / "out" / "checkpoint-1", stopped / "out" / "checkpoint-2")
    (stopped / "out" / "checkpoint-2" / "state" / "random-0.json").unlink()  # half removed
    with pytest.raises(
        DataError, match="checkpoint-2: state/random-0.json is missing; use another checkpoint"
    ):
        sft(stopped, resume=str(stopped / "out" / "checkpoint-2"))
    sft(stopped)
    assert "checkpoint-2: state/random-0.json is missing; passed over" in capsys.readouterr().out
    for name, tensor in weights(begun / "out").items():
        assert torch.equal(weights(stopped / "out")[name], tensor), name


def test_restart_sets_the_old_run_aside_whole(finished):
    old = weights(finished / "out")
    (finished / "out" / "training.log").write_text("being written\n")
    sft(finished, learning_rate=5e-3, restart=True)
    aside = finished / "out" / "set-aside-1"
    assert all(torch.equal(weights(aside)[name], tensor) for name, tensor in old.items())
    assert json.loads((aside / "args.json").read_text())["arguments"]["learning_rate"] == 1e-3
    assert (aside / "checkpoint-1" / "state").is_dir() and (finished / "out" / "training.log").is_file()
    assert record(finished)["arguments"]["learning_rate"] == 5e-3 and len(record(finished)["starts"]) == 1


def test_a_checkpoint_of_another_run_is_not_gone_on_with_in_a_folder_that_holds_one(finished, tmp_path):
    shutil.copytree(finished / "out", tmp_path / "other")
    with pytest.raises(DataError, match="other: holds another run than --resume .*checkpoint-1"):
        sft(finished, output_dir=str(tmp_path / "other"), resume=str(finished / "out" / "checkpoint-1"))


def test_a_checkpoint_is_gone_on_with_although_parts_are_named(finished):
    named = {"lm_model_name_or_path": "nowhere", "vision_model_name_or_path": "nowhere"}
    sft(finished, output_dir=str(finished / "b"), learning_rate=0.0, max_steps=1, **named)
    before, after = weights(finished, "model"), weights(finished / "b")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not (finished / "b" / "assembled").exists()


def test_a_trained_reward_model_is_loaded_or_refused(finished):
    shared = settings(
        finished,
        data_path=str(SAMPLES / "reward.json"),
        image_folder=str(SAMPLES),
        learning_rate=0.0,
        max_steps=1,
    )
    shared |= {"trained_reward_model": str(finished / "rm"), "output_dir": str(finished / "b")}
    shutil.copytree(finished / "model", finished / "rm")
    with pytest.raises(DataError, match="rm: holds no value_head.safetensors; expected a reward model"):
        train_rm(RewardConfig(**shared))
    head = torch.arange(48.0)[None]
    save_file({"weight": head}, finished / "rm" / "value_head.safetensors")
    other_weights(finished)  # of --from_checkpoint, which the reward model stands in for
    train_rm(RewardConfig(**shared))
    after = weights(finished / "b")
    assert torch.equal(after["head.weight"], head)
    before = weights(finished, "rm")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_policy_that_would_never_move_is_told_before_it_starts(finished):
    shared = settings(
        finished, reward_functions=["tests.ppo.test_rewards:num_characters"], critic_init="policy"
    )
    with pytest.raises(DataError, match="--skip_actor_model 2: the critic would learn alone in all 2 steps"):
        train_ppo(PPOConfig(**shared, skip_actor_model=2))
    assert PPOConfig(**shared, skip_actor_model=0.1).critic_only_steps(300) == 30
    assert PPOConfig(**shared, skip_actor_model=0.1).critic_only_steps(8) == 0
    assert PPOConfig(**shared, skip_actor_model=1).critic_only_steps(8) == 1


def test_weights_that_are_no_safetensors_have_digests_too(tmp_path):
    for value in (0.0, 1.0):
        (tmp_path / str(value)).mkdir()
        torch.save({"w": torch.full((2,), value)}, tmp_path / str(value) / "pytorch_model.bin")
    assert weights_digest(tmp_path / "0.0") != weights_digest(tmp_path / "1.0")
