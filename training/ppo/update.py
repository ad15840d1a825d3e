"""One update of actor and critic (PPO, arXiv 1707.06347, equations 7 and 9, and kin)."""

from collections.abc import Iterator

import torch

from training.ppo.experience import Experience
from training.ppo.models import Models
from training.ppo.objective import policy_losses
from training.utils.config.ppo_config import PPOConfig
from training.utils.loop.tally import Tally
from training.utils.losses.policy import kl_k3, ppo_value_loss
from training.utils.losses.surrogates import token_weights, weighed_count
from training.utils.process import dist


def minibatches(experiences: list[Experience], config: PPOConfig, step: int) -> Iterator[list[Experience]]:
    """The micro-batches of each update: all of them in each epoch, in an order that the seed decides."""
    generator = torch.Generator().manual_seed(config.seed + step)
    for _ in range(config.ppo_epochs):
        order = torch.randperm(len(experiences), generator=generator).tolist()
        for first in range(0, len(order), config.gradient_accumulation_steps):
            yield [experiences[i] for i in order[first : first + config.gradient_accumulation_steps]]


def update(
    minibatch: list[Experience],
    models: Models,
    tally: Tally,
    config: PPOConfig,
    kl_coef: float,
    critic_only: bool = False,
) -> float:
    """Moves the critic, and the actor unless `critic_only`, by their losses over all responses: the critic's averaged
    over tokens, the actor's as `--loss_aggregation` says.

    Returns:
        How far the policy was from the one that sampled, before it moved now: KL of a token by k3, nats.
    """
    actor, critic = models.actor, models.critic
    moved = torch.zeros((), device=dist.device())
    counts = [
        weighed_count(len(each.old_logps), each.batch.num_responses, config.loss_aggregation)
        for each in minibatch
    ]
    num_tokens = sum(len(experience.old_logps) for experience in minibatch)
    total, total_tokens = dist.sum_over_ranks(torch.tensor([sum(counts), num_tokens])).tolist()
    for experience, count in zip(minibatch, counts, strict=True):
        batch, num_tokens = experience.batch, len(experience.old_logps)
        if not critic_only:
            if config.entropy_coef:
                logps, entropy = actor(batch, config.temperature, with_entropy=True)
            else:
                logps, entropy = actor(batch, config.temperature), 0.0
            losses, clipped = policy_losses(logps, experience, kl_coef, config)
            losses = losses - config.entropy_coef * entropy
            longest = config.max_generation_length_of_sampling
            losses = losses * token_weights(batch.lengths, batch.response, config.loss_aggregation, longest)
            actor.backward(losses.sum() / total)
            gone = kl_k3(experience.old_logps, logps.detach()).sum()
            moved += gone
            tally.add(
                {
                    "policy_loss": (losses.sum(), count),
                    "clipped": (clipped.sum(), num_tokens),
                    "policy_kl": (gone, num_tokens),
                }
            )
        if critic:
            values = critic(batch, batch.predictor)
            losses = ppo_value_loss(values, experience.values, experience.returns, config.cliprange_value)
            critic.backward(losses.sum() / total_tokens)
            tally.add({"value_loss": (losses.sum(), num_tokens)})
    for name, engine in models.engines.items():
        if not (critic_only and engine is actor):
            stepped = engine.step([experience.batch for experience in minibatch])
            tally.add({f"{name}_grad_norm": (stepped["grad_norm"], 1)})
    return float(dist.sum_over_ranks(moved)) / total_tokens if config.stop_at_kl else 0.0
