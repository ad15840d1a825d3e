"""The flags of policy optimisation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

from .algorithms import ALGORITHMS, as_flags
from .data_config import DataConfig
from .flags import May, Shorthand, flag, require
from .legacy_flags import OF_ONE_MODEL
from .model_config import ModelConfig
from .objective_config import ObjectiveConfig
from .resting_config import RestingConfig
from .rewards_config import RewardsConfig
from .rollout_config import RolloutConfig
from .sampling_config import SamplingConfig
from .train_config import TrainConfig


@dataclass(frozen=True)
class PPOConfig(
    ObjectiveConfig,
    SamplingConfig,
    RestingConfig,
    RolloutConfig,
    RewardsConfig,
    TrainConfig,
    DataConfig,
    ModelConfig,
):
    """Policy optimisation: PPO, GRPO and kin."""

    # The ratio to the policy that sampled is 1 before it moves.
    uses_dropout: ClassVar[bool] = False
    without_meaning: ClassVar[Mapping[str, str]] = OF_ONE_MODEL
    shorthands: ClassVar[Mapping[str, Shorthand]] = {
        "algorithm": Shorthand(f"Sets flags as a paper has them: {', '.join(ALGORITHMS)}.", as_flags)
    }

    share_backbone: bool = flag(
        False,
        "One model in all roles: policy, critic and reward models are adapters of it (needs --lang_lora_dim).",
    )
    critic_init: str = flag("reward", "What the critic starts from: `reward` or `policy`.")
    actor_learning_rate: float = flag(3e-5, "Peak learning rate of the policy.")
    critic_learning_rate: float = flag(3e-6, "Peak learning rate of the critic.")
    actor_zero_stage: int = flag(0, "ZeRO stage of policy and reference.", may=May.CHANGE)
    critic_zero_stage: int = flag(0, "ZeRO stage of critic and reward model.", may=May.CHANGE)
    offload_actor_model: bool = flag(
        False, "Keep the policy's optimizer state in CPU memory.", may=May.CHANGE
    )
    offload_critic_model: bool = flag(
        False, "Keep the critic's optimizer state in CPU memory.", may=May.CHANGE
    )

    max_training_step: int = flag(
        1000, "PPO steps at most; the epochs may end the run before.", may=May.LENGTHEN
    )
    rollout_is_cap: float = flag(
        2.0,
        "Where the engine tells its log-probabilities (vllm), a token's loss is weighed by the trainer's probability "
        "over the engine's, at most this (truncated importance sampling); 0: by 1.",
    )
    num_minibatches: int = flag(1, "Updates in one pass over the responses of a step.")
    ppo_epochs: int = flag(1, "Passes over the responses of a step.")
    skip_actor_model: float = flag(
        0,
        "First steps in which the critic learns alone: a share of all steps below 1, a number of steps from 1 on.",
    )
    stop_at_kl: float = flag(
        0.0,
        "No more updates in a step once the policy is this far from where it sampled, nats a token; 0: never.",
    )
    dynamic_sampling: int = flag(
        0, "How often prompts whose samples all have one score are replaced by others in a step (DAPO)."
    )
    normalize_rewards: bool = flag(True, "Scores get mean 0 and standard deviation 1 over the run so far.")
    reward_clip: float = flag(10.0, "Scores are clipped to this, plus and minus; 0: never.")
    normalize_each_reward: bool = flag(
        False,
        "Each reward is taken against the other samples of its prompt, over their standard deviation, before the "
        "weighted sum (GDPO).",
    )
    missing_eos_penalty: float = flag(1.0, "Taken off the score of a response that was cut at full length.")
    overlong_buffer: float = flag(
        0.0,
        "Last part of a full-length response in which a penalty of its score grows from 0 to 1 (DAPO): a share "
        "below 1, tokens from 1 on; 0: none.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.critic_init == "policy" or bool(self.reward_model_ckpt_path) or not self.has_critic,
            "--critic_init reward: there is no reward model to start from; use --critic_init policy",
        )
        require(
            not self.share_backbone
            or (self.lang_lora_dim > 0 and not self.vis_lora_dim and not self.vis_encoder_update),
            "--share_backbone: needs --lang_lora_dim, and a vision tower that is not trained",
        )
        require(
            not self.share_backbone or max(self.actor_zero_stage, self.critic_zero_stage) < 3,
            "--share_backbone: needs --actor_zero_stage and --critic_zero_stage 2 or less",
        )
        require(
            not self.offload_idle_models or not self.share_backbone,
            "--offload_idle_models: not with --share_backbone, where one model works in all roles and none is idle",
        )
        require(
            self.dynamic_sampling == 0 or self.num_generations > 1,
            "--dynamic_sampling: needs --num_generations 2 or more, to compare their scores",
        )
        require(self.rollout_is_cap >= 0, f"--rollout_is_cap {self.rollout_is_cap:g}: expected 0 or more")
        require(
            self.critic_init in ("reward", "policy"),
            f"--critic_init {self.critic_init}: unknown; expected reward or policy",
        )
        require(
            self.skip_actor_model >= 0, f"--skip_actor_model {self.skip_actor_model:g}: expected 0 or more"
        )
        require(
            self.num_generations > 1 or not self.compares_samples,
            f"--num_generations {self.num_generations}: expected 2 or more with --advantage_estimator "
            f"{self.advantage_estimator}, which compares the samples of a prompt",
        )
        require(
            self.num_generations > 1 or not self.normalize_each_reward,
            "--normalize_each_reward: needs --num_generations 2 or more, to compare their rewards",
        )
        require(
            0 <= self.overlong_tokens <= self.max_generation_length_of_sampling,
            f"--overlong_buffer {self.overlong_buffer:g}: expected 0, a share below 1, or tokens, as many as "
            f"--max_generation_length_of_sampling {self.max_generation_length_of_sampling} at most",
        )

    @property
    def overlong_tokens(self) -> int:
        """Last tokens of a full-length response that are penalised."""
        part = self.overlong_buffer
        return ceil(part * self.max_generation_length_of_sampling) if 0 < part < 1 else int(part)

    @property
    def micro_batches(self) -> int:
        return self.gradient_accumulation_steps * self.num_minibatches

    def num_steps(self, steps_per_epoch: int) -> int:
        return min(self.max_training_step, super().num_steps(steps_per_epoch))

    @property
    def updates_per_step(self) -> int:
        return self.ppo_epochs * self.num_minibatches

    def critic_only_steps(self, num_steps: int) -> int:
        """First steps of a run of `num_steps` in which the policy stays as it is."""
        return steps_of_share(self.skip_actor_model, num_steps) if self.has_critic else 0

    @property
    def for_actor(self) -> TrainConfig:
        return replace(
            self,
            learning_rate=self.actor_learning_rate,
            zero_stage=self.actor_zero_stage,
            offload=self.offload_actor_model,
        )

    @property
    def for_critic(self) -> TrainConfig:
        return replace(
            self,
            learning_rate=self.critic_learning_rate,
            zero_stage=self.critic_zero_stage,
            offload=self.offload_critic_model,
        )

    @property
    def critic_checkpoint(self) -> str:
        return self.reward_model_ckpt_path[0] if self.critic_is_reward_model else self.from_checkpoint

    @property
    def critic_is_reward_model(self) -> bool:
        return self.has_critic and self.critic_init == "reward"


def steps_of_share(share: float, num_steps: int) -> int:
    """Steps of a run of `num_steps`: so many, or below 1 such a share of them."""
    return int(share * num_steps if share < 1 else share)
