"""A run that is killed in the middle of a rollout or of an update, and resumed, ends with the same weights."""

import signal

import pytest
import torch

from tests.stages.conftest import command, run, weights

# Runs the stage, and kills its process at the start of the third call of a function: in the second step.
KILLED = """
import os, signal, sys
import {module} as module
from training.ppo.train_ppo import main
from training.utils.checkpoint.background import saving
from training.utils.process.cli import run_stage
from training.utils.config.ppo_config import PPOConfig
calls, original = [], {owner}.{name}
def counted(*args, **more):
    calls.append(0)
    if len(calls) == 3:
        saving.settle()  # the checkpoint of the first step, which is written meanwhile
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **more)
{owner}.{name} = counted
run_stage(main, PPOConfig)
"""
# Two micro-batches a step: each is sampled, then scored, and each is an update of its own.
PLACES = {
    "rollout": {"module": "training.rewards.sampler", "owner": "module.Sampler", "name": "score"},
    "update": {"module": "training.ppo.update", "owner": "module", "name": "move_actor"},
}


@pytest.mark.parametrize(("place", "estimator"), [("rollout", "reinforce_plus_plus"), ("update", "grpo")])
def test_killed_and_resumed(place, estimator, tiny_llava, tmp_path):
    flags = [
        "--reward_functions",
        "tests.ppo.test_rewards:num_characters",
        "--advantage_estimator",
        estimator,
    ]
    flags += ["--num_minibatches", 2, "--per_device_train_batch_size", 2, "--max_steps", 3, "--save_step", 1]
    flags += ["--dataset_samples", 12, "--kl_target", 0.1]

    def arguments(output):
        return command("ppo", tiny_llava, output, *flags, "--resume", "auto")

    run(arguments(tmp_path / "whole"))
    killed = ["-c", KILLED.format(**PLACES[place]), *arguments(tmp_path / "killed")[2:]]
    assert run(killed, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "killed" / "latest").read_text().strip() == "checkpoint-1"
    run(arguments(tmp_path / "killed"))
    expected, resumed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    rollouts = [(tmp_path / name / "rollouts.jsonl").read_text() for name in ("whole", "killed")]
    assert rollouts[0] == rollouts[1]
