"""PPO with one backbone does what PPO with four models does."""

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from tests.stages.conftest import log, weights
from tests.stages.test_variants import settings
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.train_rm import main as train_rm
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import RewardConfig
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.model import build_model

LORA = {"lang_lora_dim": 4, "only_optimize_lora": True}


@pytest.fixture(scope="module")
def judge(tiny_llava, tmp_path_factory):
    """A reward model that is an adapter and a head."""
    folder = tmp_path_factory.mktemp("judge") / "reward_model"
    config = settings(tiny_llava, "reward.json", folder, max_steps=10, learning_rate=3e-2, **LORA)
    train_rm(RewardConfig(**config))
    return folder


def ppo(model, judge, output, **more):
    settings_ = {"reward_model_ckpt_path": [str(judge)], "num_generations": 2, "max_steps": 3}
    settings_ |= {"max_generation_length_of_sampling": 5, "actor_learning_rate": 3e-2, "kl_coef": 0.01}
    settings_ |= {"critic_learning_rate": 1e-2, "save_total_limit": 0}
    torch.manual_seed(0)  # adapters start from random numbers
    train_ppo(PPOConfig(**settings(model, "ppo.json", output, **LORA | settings_ | more)))
    return log(output)


def test_an_adapter_stands_beside_the_merged_weights(judge, tiny_llava):
    newest = judge / (judge / "latest").read_text().strip()
    assert (newest / "adapter" / "adapter_model.safetensors").is_file()
    assert build_model.require_adapter(judge, tiny_llava) == newest


@pytest.mark.parametrize("estimator", ["gae", "grpo"])
def test_one_backbone_samples_scores_and_learns_as_four_models(
    estimator, tiny_llava, judge, tmp_path, monkeypatch
):
    loaded = []
    load = build_model._open
    monkeypatch.setattr(build_model, "_open", lambda *args, **kw: loaded.append(args) or load(*args, **kw))
    four = ppo(tiny_llava, judge, tmp_path / "four", advantage_estimator=estimator)
    assert len(loaded) == (4 if estimator == "gae" else 3)
    loaded.clear()
    one = ppo(tiny_llava, judge, tmp_path / "one", advantage_estimator=estimator, share_backbone=True)
    assert len(loaded) == 1
    names = ["reward", "kl", "entropy", *(["value_loss"] if estimator == "gae" else [])]
    for name in names:
        assert one[0][name] == pytest.approx(four[0][name], abs=1e-4), name
    # The policy learns from the same advantages, so the next samples are the same. (The critics part: one goes on
    # with the reward model's adapter, the other gets a new one on its merged weights.)
    first, second = (jsonl.read(tmp_path / run / "rollouts.jsonl") for run in ("four", "one"))
    responses = [[line["responses"] for line in lines if line["step"] <= 2] for lines in (first, second)]
    assert responses[0] == responses[1]
    assert one[1]["kl"] == pytest.approx(four[1]["kl"], abs=1e-4) and one[1]["kl"] != 0


def test_its_policy_is_a_plain_checkpoint_that_has_moved(tiny_llava, judge, tmp_path):
    ppo(tiny_llava, judge, tmp_path, share_backbone=True)
    newest = tmp_path / (tmp_path / "latest").read_text().strip()
    model, notes = LlavaForConditionalGeneration.from_pretrained(newest, output_loading_info=True)
    assert not notes["missing_keys"] and not notes["unexpected_keys"]
    before = LlavaForConditionalGeneration.from_pretrained(tiny_llava).state_dict()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and all(".layers." in name and "language_model" in name for name in moved)


def test_stopped_and_resumed_it_ends_with_the_same_weights(tiny_llava, judge, tmp_path):
    ppo(tiny_llava, judge, tmp_path / "whole", share_backbone=True)
    resume = str(tmp_path / "whole" / "checkpoint-1")
    ppo(tiny_llava, judge, tmp_path / "resumed", share_backbone=True, resume=resume)
    expected, resumed = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_a_reward_model_with_weights_of_its_own_can_not_share(tiny_llava, reward_model, tmp_path):
    with pytest.raises(DataError, match="is no adapter on .*trained from there with --lang_lora_dim and"):
        ppo(tiny_llava, reward_model, tmp_path, share_backbone=True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"lang_lora_dim": 0, "only_optimize_lora": False}, "--share_backbone: needs --lang_lora_dim"),
        ({"actor_zero_stage": 3}, "--share_backbone: needs --actor_zero_stage and --critic_zero_stage 2"),
    ],
)
def test_what_sharing_needs_is_said_at_once(more, message, tiny_llava, judge, tmp_path):
    with pytest.raises(ConfigError, match=message):
        ppo(tiny_llava, judge, tmp_path, share_backbone=True, **more)
