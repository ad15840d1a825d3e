"""The critic starts where its targets are: a reward model's mean and deviation are arbitrary."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from tests.stages.conftest import log
from tests.stages.test_variants import settings
from training.ppo import train_ppo as train_ppo_module
from training.ppo.train_ppo import main as train_ppo
from training.utils.config.ppo_config import PPOConfig
from training.utils.losses.policy import explained_variance

MEAN, DEVIATION = 6.0, 4.0


@pytest.fixture(scope="module")
def reward_model(tiny_llava, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "reward_model"
    shutil.copytree(tiny_llava, folder)
    save_file({"weight": torch.randn(1, 48)}, folder / "value_head.safetensors")
    return folder


def ppo(tiny_llava, reward_model, output, **more):
    run = {"reward_model_ckpt_path": [str(reward_model)], "max_generation_length_of_sampling": 3}
    run |= {"max_steps": 1, "kl_coef": 0.0, "missing_eos_penalty": 0.0, "whiten_advantages": False}
    train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", output, **run | more)))
    return log(output)


def plant(reward_model, sampled):
    """Gives the head the weights with which each response of a rollout, whole or not, has one score, and those of all
    have the mean and the deviation. Where two prompts are the same, it says of the prompt what lies between."""
    found = []
    model = sampled["reward_model"]
    for batch in sampled["batches"]:
        hidden = model.family.hidden_states(model.model, batch).flatten(0, 1).double()
        found.append(torch.cat([hidden[batch.predictor], hidden[batch.last_token]]))
        rows = torch.cat([batch.response, torch.arange(batch.num_responses)])
    wanted = torch.randn(batch.num_responses, dtype=torch.double)
    wanted = MEAN + DEVIATION * (wanted - wanted.mean()) / wanted.std()
    head = torch.linalg.lstsq(torch.cat(found), wanted[rows, None], driver="gelsd").solution
    save_file({"weight": head.T.float().contiguous()}, reward_model / "value_head.safetensors")


@torch.no_grad()
def test_value_loss_and_explained_variance_are_sane_at_the_first_step(
    tiny_llava, reward_model, tmp_path, monkeypatch
):
    """A reward model of mean 6 and deviation 4 whose critic is right from the start."""
    sampled = {"batches": []}

    def seen(all_sampled, models, config):
        sampled["batches"] += [each.batch for each in all_sampled]
        sampled["reward_model"] = models.critic.module
        return observe(all_sampled, models, config)

    observe = train_ppo_module.observe
    with monkeypatch.context() as patched, torch.enable_grad():
        patched.setattr(train_ppo_module, "observe", seen)
        ppo(tiny_llava, reward_model, tmp_path / "sampling", critic_learning_rate=0.0)
    plant(reward_model, sampled)
    with torch.enable_grad():
        (line,) = ppo(tiny_llava, reward_model, tmp_path / "planted")
    assert line["reward"] == pytest.approx(MEAN, abs=1e-3)
    assert line["reward_std"] == pytest.approx(DEVIATION, abs=1e-3)
    assert line["value"] == pytest.approx(0, abs=1e-3)
    assert line["return"] == pytest.approx(0, abs=1e-2)
    assert line["value_loss"] < 0.05  # half a variance of 1 is what a constant would leave
    assert line["explained_variance"] > 0.9


def test_a_resumed_run_measures_by_the_same_scale(tiny_llava, reward_model, tmp_path):
    more = {"max_steps": 2, "save_step": 1, "save_total_limit": 0}
    whole = ppo(tiny_llava, reward_model, tmp_path / "whole", **more)
    more["resume"] = str(tmp_path / "whole" / "checkpoint-1")
    resumed = ppo(tiny_llava, reward_model, tmp_path / "resumed", **more)
    names = ("value", "return", "value_loss", "explained_variance", "critic_grad_norm")
    assert {name: resumed[-1][name] for name in names} == {name: whole[-1][name] for name in names}


def test_explained_variance_worked_by_hand():
    """Returns 1, 2, 3, 6: mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5. Errors 1, -1, 1, -1: variance 1."""
    returns = torch.tensor([1.0, 2.0, 3.0, 6.0])
    errors = torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert explained_variance(returns - errors, returns) == pytest.approx(1 - 1 / 3.5)
    assert explained_variance(returns + 7, returns) == pytest.approx(
        1
    )  # off by a constant: still all variance
    assert explained_variance(torch.zeros(4), returns) == pytest.approx(0)
