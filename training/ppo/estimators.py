"""Advantages of response tokens, by the names of `--advantage_estimator`.

    gae                  a critic's values (PPO)                         whitened over the step
    rloo                 against the other samples of the prompt         without a critic
    grpo                 the same, over their standard deviation         without a critic
    reinforce_plus_plus  returns to go (arXiv 2501.03262)                without a critic, whitened over the step

Notation: R responses, L tokens of the longest.
"""

from torch import Tensor

from training.utils.config.ppo_config import PPOConfig
from training.utils.losses.policy import gae, group_advantages, leave_one_out_advantages, returns_to_go


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
        case "rloo":
            advantages = leave_one_out_advantages
        case "grpo":
            advantages = group_advantages
    of_response = advantages(rewards.sum(-1), prompt_of_response, num_prompts)
    return of_response[:, None] * mask, None
