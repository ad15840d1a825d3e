"""From sampled responses to what the policy learns from: rewards, advantages and returns of every token.

Notation: N response tokens (a flat list), R responses, L tokens of the longest.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.ppo.estimators import estimate_advantages
from training.ppo.models import Models
from training.ppo.rollout import Sampled
from training.utils import dist
from training.utils.data.tree import Batch, Tree
from training.utils.losses import segment_sum
from training.utils.ppo_config import PPOConfig
from training.utils.rl import (
    RunningMoments,
    dense,
    explained_variance,
    flat,
    kl_k1,
    kl_k3,
    token_rewards,
)
from training.utils.tally import Figures


@dataclass
class Experience:
    """A micro-batch of responses, and what was known when they were sampled. All are fixed from then on."""

    trees: list[Tree]
    batch: Batch  # the same
    old_logps: Tensor  # [N] of the policy that sampled
    entropy: Tensor  # [N] of that policy where it chose each token, nats
    ref_logps: Tensor  # [N]
    token_kl: Tensor  # [N] to the reference, nats
    values: Tensor | None  # [N] where there is a critic
    scores: Tensor  # [R] weighted sum of all rewards
    parts: dict[str, Tensor]  # [R] of each reward
    advantages: Tensor | None = None  # [N]
    returns: Tensor | None = None  # [N] where there is a critic

    @property
    def kl(self) -> Tensor:
        """KL to the reference summed over each response, nats, [R]."""
        return segment_sum(self.token_kl, self.batch.response, self.batch.num_responses)


@torch.no_grad()
def observe(sampled: Sampled, models: Models, config: PPOConfig) -> Experience:
    """What the models say of the responses."""
    batch = sampled.batch
    with models.evaluating():
        old_logps, entropy = models.actor(batch, config.temperature, with_entropy=True)
        ref_logps = models.reference(batch, config.temperature)
        values = models.critic(batch, batch.predictor) if models.critic else None
    estimator = {"k1": kl_k1, "k3": kl_k3}[config.kl_estimator]
    return Experience(
        trees=sampled.trees,
        batch=batch,
        old_logps=old_logps,
        entropy=entropy,
        ref_logps=ref_logps,
        token_kl=estimator(old_logps, ref_logps),
        values=values,
        scores=sampled.scores,
        parts=sampled.parts,
    )


def assign_credit(
    experiences: list[Experience], moments: RunningMoments, kl_coef: float, config: PPOConfig
) -> None:
    """Sets advantages and returns of the whole rollout, over all processes."""
    if config.normalize_rewards:
        moments.add(torch.cat([experience.scores for experience in experiences]))
    for experience in experiences:
        batch = experience.batch
        scores = moments.normalize(experience.scores) if config.normalize_rewards else experience.scores
        if config.reward_clip:
            scores = scores.clamp(-config.reward_clip, config.reward_clip)
        scores = scores - config.missing_eos_penalty * (~batch.ended).float()
        mask, token_kl = dense(batch.response, batch.num_responses, experience.token_kl)
        rewards = token_rewards(scores, token_kl, mask, 0.0 if config.kl_in_loss else kl_coef)
        values = None
        if experience.values is not None:
            _, values = dense(batch.response, batch.num_responses, experience.values)
        advantages, returns = estimate_advantages(rewards, values, mask, batch, config)
        experience.advantages = flat(advantages, mask)
        experience.returns = None if returns is None else flat(returns, mask)
    if config.whitens:
        advantages = torch.cat([experience.advantages for experience in experiences]).double()
        count = dist.sum_over_ranks(len(advantages))
        mean = dist.sum_over_ranks(advantages.sum()) / count
        std = (dist.sum_over_ranks((advantages - mean).square().sum()) / count).sqrt()
        for experience in experiences:
            experience.advantages = (experience.advantages - float(mean)) / (float(std) + 1e-8)


def critic_figures(experiences: list[Experience]) -> dict[str, float]:
    """How well the critic foresaw the returns of the whole rollout, over all processes; nothing without a critic."""
    if experiences[0].values is None:
        return {}
    values, returns = (
        torch.cat([getattr(each, name) for each in experiences]) for name in ("values", "returns")
    )
    return {"explained_variance": explained_variance(values, returns)}


def rollout_figures(experience: Experience) -> Figures:
    """What to show of a rollout: score and KL of a response, its length in tokens, whether it ended; entropy of a
    token, and with a critic its value and return; and of several rewards each."""
    batch = experience.batch
    num = batch.num_responses
    num_tokens = len(experience.old_logps)
    parts = experience.parts if len(experience.parts) > 1 else {}
    figures = {f"reward {name}": (part.sum(), num) for name, part in parts.items()}
    if experience.values is not None:
        figures |= {
            "value": (experience.values.sum(), num_tokens),
            "return": (experience.returns.sum(), num_tokens),
        }
    return figures | {
        "entropy": (experience.entropy.sum(), num_tokens),
        "reward": (experience.scores.sum(), num),
        "kl": (experience.kl.sum(), num),
        "response_len": (num_tokens, num),
        "ended": (batch.ended.sum(), num),
    }
