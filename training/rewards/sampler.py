"""Answers that a policy in training samples, as trees that training can take, and what the rewards say of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from training.rewards.reward import WeightedRewards
from training.utils.data.loader import Data
from training.utils.data.record import Record
from training.utils.data.tree import Batch, Tree
from training.utils.engine.engine import Engine
from training.utils.engine.offload import at_work
from training.utils.loop.image_effect import image_effect_once
from training.utils.loop.meter import Meter
from training.utils.loop.tally import Tally
from training.utils.process import dist
from training.utils.rollouts.responder import Responder, Samples


@dataclass
class Sampled:
    """A micro-batch of prompts with sampled responses, and their scores."""

    trees: list[Tree]
    batch: Batch
    scores: Tensor  # [R] weighted sum of all rewards
    parts: dict[str, Tensor]  # [R] of each reward, by name; more may be there to be shown
    said: dict[str, list[str]] = field(default_factory=dict, kw_only=True)  # why, of rewards that say it


class Sampler(Responder):
    """Samples responses, and scores them."""

    def __init__(self, actor: Engine, rewards: WeightedRewards, config: Samples, data: Data) -> None:
        super().__init__(actor, config, data)
        self.actor, self.rewards, self.data = actor, rewards, data

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
        return Sampled(trees, batch, **self.rewards(trees, batch)._asdict())

    def answered(self, records: Sequence[Record]) -> list[Record]:
        """The records, each with one response as its text, the same on all processes. They all must call it."""
        numbered = [replace(record, id=str(number)) for number, record in enumerate(records)]
        texts = {
            tree.id: self.encoder.decode(tree.responses[0].ids)
            for batches in self.answer_held_out(numbered)
            for trees, counts in batches
            for tree in trees
            if counts
        }
        texts = {name: text for some in dist.gather_objects(texts) for name, text in some.items()}
        return [
            replace(record, responses=(texts[str(number)],), scores=None)
            for number, record in enumerate(records)
        ]

    def image_effect_once(self, meter: Meter) -> Callable[[], dict[str, float]]:
        """What `image_effect_once` of training/utils/loop gives, on prompts that the policy answers itself."""
        says = partial(self.actor, temperature=self.config.temperature)
        batch_size = self.config.per_device_eval_batch_size
        return image_effect_once(meter, self.actor, says, self.data, batch_size, self.answered)


def evaluate(sampler: Sampler, records: Sequence[Record]) -> dict[str, float]:
    """Mean score of one response to each held-out prompt, sampled as in training with fixed random numbers."""
    tally = Tally()
    for answered in sampler.answer_held_out(records):
        with at_work(*sampler.rewards.models):
            for trees, counts in answered:
                scores = sampler.score(trees).scores
                if counts:
                    tally.add({"eval_reward": (scores.sum(), len(scores))})
    return tally.means()
