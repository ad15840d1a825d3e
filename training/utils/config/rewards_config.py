"""Flags of what scores answers in policy optimisation."""

from dataclasses import dataclass
from os.path import normpath
from typing import ClassVar

from .flags import May, flag, require


@dataclass(frozen=True)
class RewardsConfig:
    needs_reward: ClassVar[bool] = True

    reward_model_ckpt_path: list[str] = flag(
        [],
        "Trained reward models; each may be of another family, tokenizer or template than the policy.",
        may=May.MOVE_MODEL,
    )
    reward_functions: list[str] = flag([], "Python functions that score answers, as module:function.")
    reward_endpoints: list[str] = flag(
        [], "Addresses that score answers; a key is read from $REWARD_API_KEY."
    )
    reward_weights: list[float] = flag(
        [], "A weight for each reward: models, then functions, then endpoints; none: 1 each."
    )
    reward_timeout_s: float = flag(60.0, "Seconds to wait for an endpoint.", may=May.CHANGE)
    reward_retries: int = flag(5, "How often an endpoint is asked again.", may=May.CHANGE)

    def __post_init__(self) -> None:
        super().__post_init__()
        rewards = [
            *map(normpath, self.reward_model_ckpt_path),
            *self.reward_functions,
            *self.reward_endpoints,
        ]
        num_rewards = len(rewards)
        for name in sorted({name for name in rewards if rewards.count(name) > 1}):
            require(False, f"{name}: given as a reward twice; give it once, with a --reward_weights of 2")
        require(
            num_rewards > 0 or not self.needs_reward,
            "--reward_model_ckpt_path: missing; expected a reward model, --reward_functions or --reward_endpoints",
        )
        require(
            len(self.reward_weights) in (0, num_rewards),
            f"--reward_weights: found {len(self.reward_weights)}, expected {num_rewards}, one for each reward",
        )

    @property
    def weights(self) -> list[float]:
        """Of each reward: models, then functions, then endpoints."""
        num_rewards = sum(
            map(len, (self.reward_model_ckpt_path, self.reward_functions, self.reward_endpoints))
        )
        return self.reward_weights or [1.0] * num_rewards
