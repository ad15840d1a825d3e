"""The updates of actor and critic (PPO, arXiv 1707.06347, equations 7 and 9, and kin)."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

import torch

from training.ppo.experience import Experience
from training.ppo.models import Models
from training.ppo.objective import policy_losses
from training.utils.config.ppo_config import PPOConfig
from training.utils.engine.engine import Engine
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
    minibatches: Iterable[list[Experience]],
    models: Models,
    tally: Tally,
    config: PPOConfig,
    kl_coef: float,
    critic_only: bool = False,
) -> None:
    """Moves the actor once by each minibatch, unless `critic_only`, and then the critic. Neither depends on what the
    other becomes, and where idle models rest each has the device for itself.

    With `--stop_at_kl`, both stop after the minibatch before which the policy was too far from the one that sampled.
    """
    taken = []
    with nullcontext() if critic_only else models.actor.working(steps=True):
        for minibatch in minibatches:
            taken.append(minibatch)
            moved = 0.0 if critic_only else move_actor(models.actor, minibatch, tally, config, kl_coef)
            if 0 < config.stop_at_kl < moved:
                break
    if models.critic:
        with models.critic.working(steps=True):
            for minibatch in taken:
                move_critic(models.critic, minibatch, tally, config)


def move_actor(
    actor: Engine, minibatch: list[Experience], tally: Tally, config: PPOConfig, kl_coef: float
) -> float:
    """Moves the policy by its losses over all responses, averaged as `--loss_aggregation` says.

    Returns:
        How far it was from the one that sampled, before it moved now: KL of a token by k3, nats. 0 where nobody asks.
    """
    moved = torch.zeros((), device=dist.device())
    counts = [
        weighed_count(len(each.old_logps), each.batch.num_responses, config.loss_aggregation)
        for each in minibatch
    ]
    total = float(dist.sum_over_ranks(sum(counts)))
    for experience, count in zip(minibatch, counts, strict=True):
        batch, num_tokens = experience.batch, len(experience.old_logps)
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
    stepped = actor.step([experience.batch for experience in minibatch])
    tally.add({"actor_grad_norm": (stepped["grad_norm"], 1)})
    return float(dist.sum_over_ranks(moved)) / num_tokens_of(minibatch) if config.stop_at_kl else 0.0


def move_critic(critic: Engine, minibatch: list[Experience], tally: Tally, config: PPOConfig) -> None:
    """Moves the critic by its loss averaged over the tokens of all responses."""
    total = num_tokens_of(minibatch)
    for experience in minibatch:
        values = critic(experience.batch, experience.batch.predictor)
        losses = ppo_value_loss(values, experience.values, experience.returns, config.cliprange_value)
        critic.backward(losses.sum() / total)
        tally.add({"value_loss": (losses.sum(), len(values))})
    stepped = critic.step([experience.batch for experience in minibatch])
    tally.add({"critic_grad_norm": (stepped["grad_norm"], 1)})


def num_tokens_of(minibatch: list[Experience]) -> float:
    """Response tokens over all processes."""
    return float(dist.sum_over_ranks(sum(len(experience.old_logps) for experience in minibatch)))
