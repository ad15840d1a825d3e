"""Advantages of response tokens, by the names of `--advantage_estimator`.

    gae                           a critic's values (PPO)                         whitened over the step
    rloo                          against the other samples of the prompt
    group_mean                    against the mean of the prompt's samples (Dr. GRPO)
    grpo                          the same, over their standard deviation
    batch                         against all samples of the step, over their standard deviation
    reinforce_plus_plus           returns to go (arXiv 2501.03262, section 3)     whitened over the step
    reinforce_plus_plus_baseline  against the mean of the prompt's samples        whitened over the step

Only the first has a critic.

Notation: R responses, L tokens of the longest.
"""

from torch import Tensor

from training.utils.config.ppo_config import PPOConfig
from training.utils.losses.advantages import (
    gae,
    group_advantages,
    group_mean_advantages,
    leave_one_out_advantages,
    returns_to_go,
    step_advantages,
)

# What compares the samples of a prompt.
OVER_A_PROMPT = {
    "rloo": leave_one_out_advantages,
    "grpo": group_advantages,
    "group_mean": group_mean_advantages,
    "reinforce_plus_plus_baseline": group_mean_advantages,
}


def estimate_advantages(
    rewards: Tensor,
    values: Tensor | None,
    mask: Tensor,
    prompt_of_response: Tensor,
    num_prompts: int,
    config: PPOConfig,
) -> tuple[Tensor, Tensor | None]:
    """Advantages, and with a critic the returns that it learns, [R, L] each.

    Args:
        rewards: of each token, [R, L].
        values: of a critic, [R, L].
        mask: True on response tokens, [R, L].
        prompt_of_response: [R].
    """
    match config.advantage_estimator:
        case "gae":
            return gae(rewards, values, mask, config.gamma, config.lam)
        case "reinforce_plus_plus":
            return returns_to_go(rewards, mask, config.gamma), None
        case "batch":
            of_response = step_advantages(rewards.sum(-1))
        case name:
            of_response = OVER_A_PROMPT[name](rewards.sum(-1), prompt_of_response, num_prompts)
    return of_response[:, None] * mask, None
