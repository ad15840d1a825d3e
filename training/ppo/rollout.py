"""Sampling responses of the policy, as trees that training can take, and what the rewards say of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.ppo.rewards import WeightedRewards
from training.utils import dist
from training.utils.data.loader import Collator, Data, eval_shares
from training.utils.data.record import Record
from training.utils.data.tree import Batch, Tree
from training.utils.engine import Engine
from training.utils.model.generate import generate
from training.utils.ppo_config import PPOConfig
from training.utils.prepare import build_sampling
from training.utils.tally import Tally


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
        groups = (self.scores[self.batch.prompt_of_response == number] for number in range(len(self.trees)))
        return [bool((scores == scores[0]).all()) for scores in groups]


class Sampler:
    """Samples and scores responses. The seed, the step and the process decide the random numbers, so a resumed run
    samples the same."""

    def __init__(self, actor: Engine, rewards: WeightedRewards, config: PPOConfig, data: Data) -> None:
        self.actor, self.rewards, self.config, self.encoder = actor, rewards, config, data.encoder
        self.sampling = build_sampling(config, data.encoder, config.max_generation_length_of_sampling)
        self.collate = Collator(data.encoder, data.train.has_images)

    def sample(
        self, prompts: Sequence[Sequence[Tree]], *when: int, num_samples: int | None = None
    ) -> list[Sampled]:
        """The prompts of each micro-batch with `num_samples` responses each, by default as many as configured.

        Args:
            when: the step, and what else tells this call from others.
        """
        with_responses = self.respond(prompts, *when, num_samples=num_samples or self.config.num_generations)
        return [self.score(trees) for trees in with_responses]

    def respond(self, prompts: Sequence[Sequence[Tree]], *when: int, num_samples: int) -> list[list[Tree]]:
        """The prompts with responses that nobody has scored."""
        seed = hash((self.config.seed, *when, dist.rank()))
        generator = torch.Generator(dist.device()).manual_seed(seed)
        pad_id, stop_ids = self.encoder.tokenizer.pad_token_id, self.encoder.stop_ids
        sampled = []
        with self.actor.whole_weights() as policy, self.actor.evaluating():
            for trees in prompts:
                responses = (
                    generate(policy, trees, self.sampling, num_samples, generator, pad_id) if trees else []
                )
                pairs = zip(trees, responses, strict=True)
                sampled.append([tree.with_responses(ids, stop_ids) for tree, ids in pairs])
        return sampled

    @torch.no_grad()
    def score(self, trees: list[Tree]) -> Sampled:
        batch = self.collate(trees).to(dist.device())
        return Sampled(trees, batch, *self.rewards(trees, batch))


def replace_dull(
    sampled: list[Sampled], sampler: Sampler, data: Data, step: int, attempt: int
) -> list[Sampled]:
    """Other prompts in place of those whose samples all have one score (DAPO, arXiv 2503.14476, section 3.2).

    The new prompts are drawn by seed, step and attempt alone, so that a resumed run draws the same.
    """
    dull = [each.is_dull for each in sampled]
    if not dist.sum_over_ranks(sum(map(sum, dull))):
        return sampled
    rng = random.Random(f"{sampler.config.seed} {step} {attempt} {dist.rank()}")
    drawn = [data.encode([rng.choice(data.train) for is_dull in flags if is_dull]) for flags in dull]
    answered = sampler.respond(drawn, step, attempt + 1, num_samples=sampler.config.num_generations)
    replaced = []
    for each, flags, new in zip(sampled, dull, map(iter, answered), strict=True):
        trees = [next(new) if is_dull else tree for tree, is_dull in zip(each.trees, flags, strict=True)]
        # On all processes alike: a reward model may be shared out over them.
        replaced.append(sampler.score(trees))
    return replaced


def evaluate(sampler: Sampler, records: Sequence[Record]) -> dict[str, float]:
    """Mean score of one response to each held-out prompt, sampled as in training with fixed random numbers."""
    tally = Tally()
    for share, counts in eval_shares(records, sampler.config.per_device_eval_batch_size):
        prompts = [sampler.encoder.encode(record) for record in share]
        (sampled,) = sampler.sample([prompts], 0, num_samples=1)
        if counts:
            tally.add({"eval_reward": (sampled.scores.sum(), len(sampled.scores))})
    return tally.means()
