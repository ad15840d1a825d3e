"""From sampled responses to what the policy learns from: rewards, advantages and returns of every token.

Notation: N response tokens (a flat list), R responses, L tokens of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from training.ppo.estimators import estimate_advantages
from training.ppo.models import Models
from training.rewards import observed
from training.rewards.observed import Observed
from training.rewards.sampler import Sampled
from training.utils.config.ppo_config import PPOConfig
from training.utils.loop.tally import Figures
from training.utils.losses.advantages import dull_groups, group_advantages
from training.utils.losses.policy import (
    RunningMoments,
    dense,
    explained_variance,
    flat,
    kl_k1,
    kl_k3,
    overlong_penalty,
    token_rewards,
    truncated_weights,
)
from training.utils.process import dist

ESTIMATORS = {"k1": kl_k1, "k3": kl_k3}


@dataclass
class Experience(Observed):
    """Sampled responses, and what was known when they were sampled, with what the policy is to learn of them."""

    values: Tensor | None  # [N] where there is a critic
    is_weights: Tensor | None = None  # [N] that correct for the engine that sampled
    rewards: Tensor | None = None  # [N] the KL charged at each token, and the score as it is used at the last
    advantages: Tensor | None = None  # [N]
    returns: Tensor | None = None  # [N] where there is a critic

    @property
    def measures(self) -> dict[str, Tensor]:
        return {"advantage": self.advantages, "kl": self.token_kl, "reward": self.rewards}


@torch.no_grad()
def observe(sampled: Sequence[Sampled], models: Models, config: PPOConfig) -> list[Experience]:
    """What the models say of the responses of each micro-batch, the critic last."""
    told = observed.observe(
        sampled, models.actor, models.reference, config.temperature, ESTIMATORS[config.kl_estimator]
    )
    values = [None] * len(told)
    if models.critic:
        with models.critic.evaluating(), models.critic.working():
            values = [models.critic(each.batch, each.batch.predictor) for each in told]
    return [
        Experience(**vars(each), values=of_critic, is_weights=engine_weights(each, config))
        for each, of_critic in zip(told, values, strict=True)
    ]


def engine_weights(each: Observed, config: PPOConfig) -> Tensor | None:
    """What corrects for the engine that sampled, [N]; none where it does not tell, or nobody asks."""
    if each.sampled_logps is None or not config.rollout_is_cap:
        return None
    return truncated_weights(each.old_logps, each.sampled_logps, config.rollout_is_cap)


def assign_credit(
    experiences: list[Experience], moments: RunningMoments, kl_coef: float, config: PPOConfig
) -> None:
    """Sets rewards, advantages and returns of the whole rollout, over all processes. Its micro-batches are taken
    together: as many operations whatever their number, and the length of responses."""
    batches = [experience.batch for experience in experiences]
    known = [batch.on_cpu for batch in batches]  # nobody has to wait for the device to know it
    response = numbered_on([batch.response for batch in known], [batch.num_responses for batch in known])
    prompts = numbered_on([batch.prompt_of_response for batch in known], [len(batch.ids) for batch in known])
    num_prompts = sum(len(batch.ids) for batch in batches)
    scores = torch.cat([experience.scores for experience in experiences])
    prompts = prompts.to(scores.device)
    if config.normalize_each_reward:  # GDPO, arXiv 2601.05242, section 3
        scores = sum(
            weight
            * group_advantages(torch.cat([each.parts[name] for each in experiences]), prompts, num_prompts)
            for name, weight in config.weight_of_score.items()
        )
    if config.normalize_rewards:
        moments.add(scores)
        scores = moments.normalize(scores)
    if config.reward_clip:
        scores = scores.clamp(-config.reward_clip, config.reward_clip)
    scores = scores - config.missing_eos_penalty * (~torch.cat([batch.ended for batch in batches])).float()
    if config.overlong_tokens:
        lengths = torch.cat([batch.lengths for batch in batches])
        longest = config.max_generation_length_of_sampling
        scores = scores - overlong_penalty(lengths, longest, config.overlong_tokens)

    token_kl = torch.cat([experience.token_kl for experience in experiences])
    values = torch.cat([experience.values for experience in experiences]) if config.has_critic else None
    where, *rows = dense(response, len(scores), *([token_kl] if values is None else [token_kl, values]))
    mask = where.to(scores.device)
    rewards = token_rewards(scores, rows[0], mask, 0.0 if config.kl_in_loss else kl_coef)
    advantages, returns = estimate_advantages(
        rewards, rows[1] if config.has_critic else None, mask, prompts, num_prompts, config
    )
    advantages = flat(advantages, where)
    if config.whitens:
        advantages = whitened(advantages)
    assigned = {"rewards": flat(rewards, where), "advantages": advantages}
    if returns is not None:
        assigned["returns"] = flat(returns, where)
    lengths = [len(experience.old_logps) for experience in experiences]
    for name, values in assigned.items():
        for experience, part in zip(experiences, values.split(lengths), strict=True):
            setattr(experience, name, part)


def numbered_on(numbers: list[Tensor], counts: list[int]) -> Tensor:
    """Numbers that start at 0 in each part, one after the other: a part goes on where the one before ends."""
    starts = accumulate(counts[:-1], initial=0)
    return torch.cat([part + start for part, start in zip(numbers, starts, strict=True)])


def whitened(advantages: Tensor) -> Tensor:
    """With mean 0 and standard deviation 1 over all processes, [N]."""
    exact = advantages.double()
    sums = torch.stack([torch.ones_like(exact).sum(), exact.sum(), exact.square().sum()])
    count, total, squares = dist.sum_over_ranks(sums).tolist()
    mean = total / count
    return (advantages - mean) / (max(squares / count - mean**2, 0.0) ** 0.5 + 1e-8)


def step_figures(experiences: list[Experience]) -> dict[str, float]:
    """How far the scores of a rollout spread, and how well a critic foresaw its returns, over all processes."""
    moments = RunningMoments()
    moments.add(torch.cat([experience.scores for experience in experiences]))
    if experiences[0].values is None:
        return {"reward_std": moments.std}
    values, returns = (
        torch.cat([getattr(each, name) for each in experiences]) for name in ("values", "returns")
    )
    return {"reward_std": moments.std, "explained_variance": explained_variance(values, returns)}


def rollout_figures(experience: Experience) -> Figures:
    """What to show of a rollout, besides the figures of all that is sampled: with a critic value and return of a
    token; of several samples of a prompt how many prompts are dull: their samples all have one score; with another
    engine the weight that corrects for it."""
    batch = experience.batch
    num_tokens = len(experience.old_logps)
    figures: Figures = {}
    if experience.values is not None:
        figures |= {
            "value": (experience.values.sum(), num_tokens),
            "return": (experience.returns.sum(), num_tokens),
        }
    if batch.num_responses > len(batch.ids):
        dull = dull_groups(experience.scores, batch.prompt_of_response, len(batch.ids))
        figures["dull"] = (dull.sum(), len(batch.ids))
    if experience.is_weights is not None:
        figures["is_weight"] = (experience.is_weights.sum(), num_tokens)
    return figures | experience.figures
