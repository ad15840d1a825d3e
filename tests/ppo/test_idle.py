"""PPO whose reference and reward models rest in CPU memory while others work."""

import pytest
import torch

from scripts.storm.cases import TIMES
from tests.stages.conftest import log
from tests.stages.test_variants import settings
from training.ppo.train_ppo import main as train_ppo
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.engine.offload import Resting


def run(tiny_llava, taste, output, **more):
    ppo = {"reward_model_ckpt_path": [str(taste)], "max_generation_length_of_sampling": 3, "max_steps": 2}
    ppo |= {"actor_learning_rate": 1e-2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    torch.manual_seed(0)
    train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", output, **ppo | more)))
    return [{k: v for k, v in line.items() if not k.endswith(TIMES)} for line in log(output)]


@pytest.mark.parametrize("zero_stage", [0, 2])
def test_a_run_is_the_same_and_each_model_comes_once_a_step(
    zero_stage, tiny_llava, taste, tmp_path, monkeypatch
):
    arrived = []

    def arrive(model, resting):
        if resting is model.rest[0][1]:
            arrived.append(model)
        return resting.clone()

    stages = {"actor_zero_stage": zero_stage, "critic_zero_stage": zero_stage}
    expected = run(tiny_llava, taste, tmp_path / "all", **stages)
    monkeypatch.setattr(Resting, "_arrive", arrive)
    found = run(tiny_llava, taste, tmp_path / "idle", offload_idle_models=True, **stages)
    assert found == expected
    assert len(set(arrived)) == 2 and len(arrived) == 2 * 2  # reference and reward model, in two steps


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"critic_zero_stage": 3},
            "--offload_idle_models: needs --actor_zero_stage and --critic_zero_stage 2",
        ),
        ({"share_backbone": True, "lang_lora_dim": 2}, "--offload_idle_models: not with --share_backbone"),
    ],
)
def test_it_is_refused_where_no_model_of_its_own_is_idle(more, message, tiny_llava, taste, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run(tiny_llava, taste, tmp_path, offload_idle_models=True, **more)
