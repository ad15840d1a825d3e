"""Sampling responses of the policy, as trees that training can take, and what the rewards say of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from training.ppo.rewards import WeightedRewards
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.loader import Data, eval_shares, read_trees
from training.utils.data.record import Record
from training.utils.data.tree import Batch, Tree
from training.utils.engine.engine import Engine
from training.utils.engine.offload import at_work
from training.utils.loop.tally import Tally
from training.utils.losses.advantages import dull_groups
from training.utils.process import dist
from training.utils.rollouts.responder import Responder


@dataclass
class Sampled:
    """A micro-batch of prompts with sampled responses, and their scores."""

    trees: list[Tree]
    batch: Batch
    scores: Tensor  # [R] weighted sum of all rewards
    parts: dict[str, Tensor]  # [R] of each reward

    @property
    def is_dull(self) -> list[bool]:
        """Whether the samples of a prompt all have one score: then a comparison of them teaches nothing, [P]."""
        return dull_groups(self.scores, self.batch.prompt_of_response, len(self.trees)).tolist()


class Sampler(Responder):
    """Samples responses, and scores them."""

    def __init__(self, actor: Engine, rewards: WeightedRewards, config: PPOConfig, data: Data) -> None:
        super().__init__(actor, config, data)
        self.rewards = rewards

    def sample(self, prompts: Sequence[Sequence[Tree]], step: int) -> list[Sampled]:
        """The prompts of each micro-batch of a step with as many responses each as configured."""
        flat = [tree for trees in prompts for tree in trees]
        num_samples = self.config.num_generations
        answered = iter(self.respond(flat, self.numbers(prompts), step, num_samples=num_samples))
        with at_work(*self.rewards.models):
            return [self.score([next(answered) for _ in trees]) for trees in prompts]

    @torch.no_grad()
    def score(self, trees: list[Tree]) -> Sampled:
        batch = self.collate(trees).to(dist.device())
        return Sampled(trees, batch, *self.rewards(trees, batch))


def replace_dull(
    sampled: list[Sampled], sampler: Sampler, data: Data, step: int, attempt: int
) -> list[Sampled]:
    """Other prompts in place of those whose samples all have one score (DAPO, arXiv 2503.14476, section 3.2).

    The new prompts are drawn by seed, step, attempt and number of the prompt alone, so that a resumed run draws the
    same.
    """
    dull = [each.is_dull for each in sampled]
    if not dist.sum_over_ranks(sum(map(sum, dull))):
        return sampled
    flags = [is_dull for some in dull for is_dull in some]
    numbers = sampler.numbers([each.trees for each in sampled])
    numbers = [number for number, is_dull in zip(numbers, flags, strict=True) if is_dull]
    rngs = (random.Random(f"{sampler.config.seed} {step} {attempt} {number}") for number in numbers)
    others = [rng.randrange(len(data.train)) for rng in rngs]
    drawn = read_trees(data.train, others, data.encode, data.skips_bad)
    num_samples = sampler.config.num_generations
    new = iter(sampler.respond(drawn, numbers, step, attempt + 1, num_samples=num_samples))
    trees = [
        [next(new) if is_dull else tree for tree, is_dull in zip(each.trees, flags, strict=True)]
        for each, flags in zip(sampled, dull, strict=True)
    ]
    # On all processes alike: a reward model may be shared out over them.
    with at_work(*sampler.rewards.models):
        return [sampler.score(some) for some in trees]


def evaluate(sampler: Sampler, records: Sequence[Record]) -> dict[str, float]:
    """Mean score of one response to each held-out prompt, sampled as in training with fixed random numbers."""
    tally, config = Tally(), sampler.config
    size = config.per_device_eval_batch_size
    shares = eval_shares(range(len(records)), size)
    while some := list(islice(shares, max(1, config.prompts_at_a_time // size))):
        answered = sampler.answer_held_out(records, [share for share, _ in some])
        with at_work(*sampler.rewards.models):
            for (_, counts), trees in zip(some, answered, strict=True):
                scores = sampler.score(trees).scores
                if counts:
                    tally.add({"eval_reward": (scores.sum(), len(scores))})
    return tally.means()
