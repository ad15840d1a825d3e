"""Every loss type of DPO and every estimator of PPO, as whole runs in this process."""

import json
from statistics import mean

import pytest
import torch

from tests.conftest import SAMPLES
from tests.stages.conftest import log, weights
from training.dpo.loss_types import LOSS_TYPES
from training.dpo.train_dpo import main as train_dpo
from training.ppo import update as ppo_update
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.train_rm import main as train_rm
from training.sft.train_sft import main as train_sft
from training.utils.config.arguments import parse_args
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig
from training.utils.data.record import DataError
from training.utils.files import jsonl


def settings(model, data, output, **more):
    shared = {
        "from_checkpoint": str(model),
        "data_path": str(SAMPLES / data),
        "output_dir": str(output),
        "dataset_samples": "8",
        "data_train_split_ratio": 1.0,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 20,
        "lang_decoder_update": True,
    }
    return shared | more


@pytest.mark.parametrize("loss_type", [*([name] for name in LOSS_TYPES), ["sigmoid", "sft"]], ids="+".join)
def test_a_loss_falls_and_its_accuracy_rises(loss_type, tiny_llava, tmp_path):
    config = settings(
        tiny_llava, "reward.json", tmp_path, loss_type=loss_type, max_steps=15, learning_rate=1e-3
    )
    train_dpo(DPOConfig(**config))
    lines = log(tmp_path)
    assert lines[-1]["loss"] < lines[0]["loss"]
    needs_reference = any(LOSS_TYPES[name].reference for name in loss_type)
    assert ("margin" in lines[0]) == needs_reference
    if loss_type[0] not in (
        "sft",
        "image_conditional",
        "anchored",
    ):  # they do not look at the rejected answer
        assert lines[-1]["accuracy"] >= 0.9


def test_kto_learns_from_unpaired_answers_and_goes_on_with_its_memory(tiny_llava, tmp_path):
    """Eight answers, good and bad ones of different pictures; bco with them, so that there is a running mean."""
    records = json.loads((SAMPLES / "reward.json").read_text())[:8]
    file = SAMPLES / "reward.json"
    unpaired = []
    for number, one in enumerate(records):
        human, gpt = one["conversations"]
        good = number % 2 == 0
        answer = gpt["value"][0 if good else 1]
        unpaired.append(one | {"label": good, "conversations": [human, gpt | {"value": answer}]})
    file = tmp_path / "unpaired.json"
    file.write_text(json.dumps(unpaired))
    more = {"image_folder": str(SAMPLES), "loss_type": ["kto", "bco"], "learning_rate": 1e-3}
    config = settings(tiny_llava, file, tmp_path / "whole", save_total_limit=0, max_steps=12, **more)
    train_dpo(DPOConfig(**config))
    lines = log(tmp_path / "whole")
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["chosen_reward"] > lines[-1]["rejected_reward"] + 0.1
    assert "margin" not in lines[-1]  # there are no pairs
    with pytest.raises(DataError, match="--resume nowhere: no checkpoint; expected never, auto or a folder"):
        train_dpo(DPOConfig(**config | {"resume": "nowhere", "output_dir": str(tmp_path / "b")}))
    resumed = config | {"resume": str(tmp_path / "whole" / "checkpoint-6"), "output_dir": str(tmp_path / "b")}
    train_dpo(DPOConfig(**resumed))
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "b")[name], tensor), name


def test_a_reward_model_learns_the_scores_of_the_records(tiny_llava, tmp_path):
    config = settings(tiny_llava, "reward_mse.json", tmp_path, loss_type="regression", max_steps=40)
    train_rm(RewardConfig(**config | {"learning_rate": 3e-3}))
    lines = log(tmp_path)
    assert lines[-1]["loss"] < 0.2 * lines[0]["loss"]


def test_regression_asks_for_scores(tiny_llava, tmp_path):
    config = settings(tiny_llava, "reward.json", tmp_path, loss_type="regression")
    with pytest.raises(DataError, match="has no `score`; --loss_type regression needs one"):
        train_rm(RewardConfig(**config))


@pytest.mark.parametrize("estimator", ["gae", "rloo", "grpo", "reinforce_plus_plus"])
def test_the_reward_rises(estimator, tiny_llava, taste, tmp_path):
    ppo = {"advantage_estimator": estimator, "num_generations": 4, "max_generation_length_of_sampling": 3}
    ppo |= {"actor_learning_rate": 1e-2, "critic_learning_rate": 1e-3, "max_steps": 25, "kl_coef": 0.01}
    config = settings(tiny_llava, "ppo.json", tmp_path, reward_model_ckpt_path=[str(taste)], **ppo)
    train_ppo(PPOConfig(**config))
    lines = log(tmp_path)
    first, last = (mean(line["reward"] for line in part) for part in (lines[:5], lines[-5:]))
    assert last > first + 1
    assert all(("value_loss" in line) == (estimator == "gae") for line in lines)
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path).values())


def ppo(tiny_llava, output, **more):
    defaults = {"advantage_estimator": "rloo", "num_generations": 4, "max_generation_length_of_sampling": 3}
    defaults |= {"actor_learning_rate": 1e-2, "max_steps": 4, "kl_coef": 0.0}
    train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", output, **defaults | more)))
    return log(output)


def test_what_entropy_is_worth_keeps_it_up(tiny_llava, taste, tmp_path):
    without, with_it = (
        ppo(tiny_llava, tmp_path / str(c), reward_model_ckpt_path=[str(taste)], entropy_coef=c, max_steps=15)
        for c in (0.0, 1.0)
    )
    assert with_it[0]["entropy"] == without[0]["entropy"]
    assert with_it[-1]["entropy"] > without[-1]["entropy"] + 0.2


def test_updates_of_a_step_stop_where_the_policy_has_moved_too_far(tiny_llava, taste, tmp_path, monkeypatch):
    """Four passes: the first finds the policy where it sampled, the second finds it moved, and is the last, for the
    critic too."""
    taken, of_critic = [], []
    move_actor, move_critic = ppo_update.move_actor, ppo_update.move_critic
    monkeypatch.setattr(ppo_update, "move_actor", lambda *args: taken.append(move_actor(*args)) or taken[-1])
    monkeypatch.setattr(ppo_update, "move_critic", lambda *args: of_critic.append(move_critic(*args)))
    for limit, expected in ((1e-6, 2), (1e3, 4)):
        taken.clear(), of_critic.clear()
        more = {"reward_model_ckpt_path": [str(taste)], "ppo_epochs": 4, "max_steps": 2}
        more |= {"advantage_estimator": "gae"}
        ppo(tiny_llava, tmp_path / str(limit), stop_at_kl=limit, num_warmup_steps=0.0, **more)
        assert len(taken) == len(of_critic) == 2 * expected
        assert abs(taken[0]) < 1e-6 < taken[1]


def some_are_dull(record, responses):
    """The same for all answers to every other prompt."""
    return [float(len(text)) if int(record.id[-1]) % 2 else 1.0 for text in responses]


def test_prompts_that_teach_nothing_are_replaced_and_a_second_run_replaces_the_same(tiny_llava, tmp_path):
    more = {"reward_functions": [f"{__name__}:some_are_dull"], "max_generation_length_of_sampling": 8}
    lines = {}
    for name, attempts in (("without", 0), ("with", 6), ("again", 6)):
        ppo(tiny_llava, tmp_path / name, dynamic_sampling=attempts, max_steps=2, **more)
        lines[name] = jsonl.read(tmp_path / name / "rollouts.jsonl")
    dull = {name: sum(len(set(line["scores"])) == 1 for line in lines[name]) for name in lines}
    assert dull["without"] >= 8 and dull["with"] <= 2
    assert len(lines["with"]) == len(lines["without"]) == 16
    assert lines["with"] == lines["again"]


@pytest.mark.parametrize("name", ["dapo", "gspo"])
def test_an_algorithm_by_name_learns_with_adapters_of_one_backbone(name, tiny_llava, tmp_path, capsys):
    """With dynamic sampling and several passes, as its command line is read."""
    given = {**settings(tiny_llava, "ppo.json", tmp_path), "reward_functions": f"{__name__}:some_are_dull"}
    given |= {"lang_lora_dim": 4, "only_optimize_lora": True, "share_backbone": True, "algorithm": name}
    given |= {"ppo_epochs": 2, "max_steps": 3, "num_generations": 4, "max_generation_length_of_sampling": 8}
    given |= {"actor_learning_rate": 1e-2, "num_warmup_steps": 0.0}
    given |= {"dynamic_sampling": 2, "cliprange_high": 0.3}
    config = parse_args(
        PPOConfig, [word for key, value in given.items() for word in (f"--{key}", str(value))]
    )
    assert (config.cliprange, config.cliprange_high) == ({"dapo": 0.2, "gspo": 3e-4}[name], 0.3)
    train_ppo(config)
    lines = log(tmp_path)
    assert len(lines) == 3 and all(abs(line["policy_loss"]) < 10 for line in lines)
    assert any(line["policy_kl"] > 1e-6 for line in lines)
    written = json.loads((tmp_path / "args.json").read_text())["arguments"]
    assert (
        written["advantage_estimator"] == "grpo" and written["kl_coef"] == 0.0 and "algorithm" not in written
    )


def test_an_estimator_that_compares_samples_asks_for_two(tiny_llava, tmp_path):
    config = settings(
        tiny_llava, "ppo.json", tmp_path, reward_model_ckpt_path=["x"], advantage_estimator="grpo"
    )
    with pytest.raises(ConfigError, match="--num_generations 1: expected 2 or more with"):
        PPOConfig(**config)


def test_sft_learns_the_best_of_ranked_answers_alone(tiny_llava, tmp_path):
    ranked = json.loads((SAMPLES / "reward.json").read_text())[:4]
    for record in ranked:
        record["image"] = str(SAMPLES / record["image"])
    (tmp_path / "ranked.json").write_text(json.dumps(ranked))
    for record in ranked:
        record["conversations"][-1]["value"] = record["conversations"][-1]["value"][0]
    (tmp_path / "best.json").write_text(json.dumps(ranked))
    more = {"image_folder": str(SAMPLES), "max_steps": 1}
    for name in ("ranked", "best"):
        config = settings(tiny_llava, tmp_path / f"{name}.json", tmp_path / name, **more)
        train_sft(SFTConfig(**config))
    assert log(tmp_path / "ranked")[0]["loss"] == log(tmp_path / "best")[0]["loss"]
