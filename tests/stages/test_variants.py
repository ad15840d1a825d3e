"""Every loss type of DPO and every estimator of PPO, as whole runs in this process."""

import shutil
from statistics import mean

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import SAMPLES
from tests.stages.conftest import log, weights
from training.dpo.loss_types import LOSS_TYPES
from training.dpo.train_dpo import main as train_dpo
from training.ppo.train_ppo import main as train_ppo
from training.utils.config import ConfigError
from training.utils.stage_config import DPOConfig, PPOConfig


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
    if loss_type[0] not in ("sft", "image_conditional", "anchored"):  # they do not look at the rejected answer
        assert lines[-1]["accuracy"] >= 0.9


@pytest.fixture(scope="module")
def taste(tiny_llava, tmp_path_factory):
    """A reward model that likes some last tokens much better than others."""
    folder = tmp_path_factory.mktemp("taste") / "reward_model"
    shutil.copytree(tiny_llava, folder)
    head = torch.randn(1, 48, generator=torch.Generator().manual_seed(0))
    save_file({"weight": head}, folder / "value_head.safetensors")
    return folder


@pytest.mark.parametrize("estimator", ["gae", "rloo", "grpo", "reinforce_plus_plus"])
def test_the_reward_rises(estimator, tiny_llava, taste, tmp_path):
    ppo = {"advantage_estimator": estimator, "num_generations": 4, "max_generation_length_of_sampling": 3}
    ppo |= {"actor_learning_rate": 1e-2, "critic_learning_rate": 1e-3, "max_steps": 25, "kl_coef": 0.01}
    config = settings(tiny_llava, "ppo.json", tmp_path, reward_model_ckpt_path=str(taste), **ppo)
    train_ppo(PPOConfig(**config))
    lines = log(tmp_path)
    first, last = (mean(line["reward"] for line in part) for part in (lines[:5], lines[-5:]))
    assert last > first + 1
    assert all(("value_loss" in line) == (estimator == "gae") for line in lines)
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path).values())


def test_an_estimator_that_compares_samples_asks_for_two(tiny_llava, tmp_path):
    config = settings(
        tiny_llava, "ppo.json", tmp_path, reward_model_ckpt_path="x", advantage_estimator="grpo"
    )
    with pytest.raises(ConfigError, match="--num_generations 1: expected 2 or more with"):
        PPOConfig(**config)
