"""A flag that would have no effect beside the others is refused, and one that has an effect is not."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from training.dpo.loss_types import LOSS_TYPES
from training.dpo.ranked import Ranked
from training.online.pair import PairConfig
from training.ppo.estimators import estimate_advantages
from training.reward_model.select_data import SelectConfig
from training.utils.config.flags import ConfigError
from training.utils.config.model_config import ModelConfig
from training.utils.config.objective_config import ESTIMATORS
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, PredictConfig, RewardConfig

GIVEN = {"from_checkpoint": "a", "data_path": "b", "output_dir": "c"}


def dpo(**more) -> DPOConfig:
    return DPOConfig(**GIVEN | more)


def ppo(**more) -> PPOConfig:
    return PPOConfig(
        **GIVEN | {"reward_functions": ["length"], "critic_init": "policy", "num_generations": 2} | more
    )


def predicted(**more) -> PredictConfig:
    return PredictConfig(from_checkpoint="a", data_path="b", output_path="c", **more)


def is_refused(make, **more) -> bool:
    try:
        make(**more)
    except ConfigError as error:
        assert "has no effect" in str(error)
        return True
    return False


@pytest.mark.parametrize("name", LOSS_TYPES)
@pytest.mark.parametrize(
    ("flag", "value"),
    [("label_smoothing", 0.3), ("simpo_gamma", 1.0), ("desirable_weight", 2.0), ("undesirable_weight", 2.0)],
)
def test_a_loss_refuses_what_does_not_change_it(name, flag, value):
    ranked = Ranked(
        torch.tensor([-3.0, -5.0]), torch.tensor([-4.0, -4.0]), torch.tensor([2, 2]), torch.tensor([0, 0]), 1
    )
    ranked.borrowed_log_ratios = torch.zeros(1)
    ranked.image_margins = torch.ones(1)
    ranked.prompt_of_image_margin = torch.zeros(1, dtype=torch.long)
    usual = {field.name: field.default for field in dataclasses.fields(DPOConfig)}
    losses = [
        LOSS_TYPES[name].function(ranked, SimpleNamespace(**usual | more)).sum()
        for more in ({}, {flag: value})
    ]
    changes = not torch.equal(*losses)
    more = {"loss_type": [name], "per_device_train_batch_size": 2, flag: value}
    assert is_refused(dpo, **more) is not changes
    assert not is_refused(dpo, **more | {"loss_type": [name, "sigmoid", "simpo", "kto"]})


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("flag", "value"), [("gamma", 0.5), ("lam", 0.3)])
def test_an_estimator_refuses_what_does_not_change_it(name, flag, value):
    rewards, values = torch.rand(4, 6), torch.rand(4, 6)
    mask, prompts = torch.ones(4, 6, dtype=torch.bool), torch.tensor([0, 0, 1, 1])
    usual = {"advantage_estimator": name, "gamma": 1.0, "lam": 0.95}
    found = [
        estimate_advantages(rewards, values, mask, prompts, 2, SimpleNamespace(**usual | more))[0]
        for more in ({}, {flag: value})
    ]
    assert is_refused(ppo, advantage_estimator=name, **{flag: value}) is torch.equal(*found)


@pytest.mark.parametrize(
    ("make", "more", "message"),
    [
        (dpo, {"other_image": "noise"}, "--other_image noise: has no effect with --loss_type sigmoid; it needs "
         "--loss_type mdpo or image_conditional, or leave it out"),
        (dpo, {"lora_alpha": 8.0}, "--lora_alpha 8.0: has no effect; it needs --lang_lora_dim or --vis_lora_dim, or"),
        (dpo, {"lang_lora_module_name": "q_proj"}, "it needs --lang_lora_dim, or leave it out"),
        (ppo, {"policy_loss": "sapo", "cliprange": 0.3}, "--cliprange 0.3: has no effect with --policy_loss sapo"),
        (ppo, {"sapo_tau_pos": 2.0}, "has no effect with --policy_loss clip; it needs --policy_loss sapo"),
        (ppo, {"advantage_estimator": "grpo", "cliprange_value": 0.1}, "with --advantage_estimator grpo"),
        (ppo, {"kl_horizon": 100}, "it needs --kl_target, or"),
        (ppo, {"kl_target": 1.0, "kl_coef": 0.0}, "--kl_target 1.0: has no effect; it needs --kl_coef, or"),
        (ppo, {"reward_format": "x"}, "--reward_format x: has no effect with --reward_functions length; it needs"),
        (ppo, {"rollout_gpu_share": 0.5}, "--rollout_gpu_share 0.5: has no effect with --rollout_engine own"),
        (ppo, {"rollout_tensor_parallel": 2}, "own; it needs --rollout_engine vllm, or leave it out"),
        (predicted, {"keep_cut": True}, "--keep_cut True: has no effect; it needs --data_output, or leave it out"),
        (ppo, {"synonyms": "x"}, "--synonyms x: has no effect; it needs --truth, or"),
        (ppo, {"reward_ensemble": "min", "ensemble_deviations": 2.0}, "with --reward_ensemble min; it needs"),
    ],
)  # fmt: skip
def test_it_is_told_what_a_flag_needs(make, more, message):
    with pytest.raises(ConfigError) as error:
        make(**more)
    assert message in str(error.value)


def test_a_regression_on_scores_has_no_margin():
    assert is_refused(RewardConfig, **GIVEN, loss_type="regression", margin=1.0)
    assert not is_refused(RewardConfig, **GIVEN, margin=1.0)


def test_pairs_refuse_what_their_pick_does_not_read():
    files = {"samples": "a", "scores": "b", "output": "c"}
    assert is_refused(PairConfig, **files, pick="best", margin=3.0)
    assert is_refused(PairConfig, **files, pick="best_worst", pairs_per_prompt=7)
    assert not is_refused(PairConfig, **files, pick="pairs", pairs_per_prompt=7, margin=3.0)


def test_a_need_names_flags_that_there_are():
    classes = [SelectConfig, PairConfig, ModelConfig]
    for config_class in classes:
        classes += [below for below in config_class.__subclasses__() if below not in classes]
    assert {PPOConfig, OnlineDPOConfig, RewardConfig, PredictConfig} <= {*classes}
    for config_class in classes:
        for field in dataclasses.fields(config_class):
            for other in field.metadata.get("needs", {}):
                assert hasattr(config_class, other) or other in config_class.__dataclass_fields__
