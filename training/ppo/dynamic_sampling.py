"""Other prompts in place of those that teach nothing (DAPO, arXiv 2503.14476, section 3.2)."""

import random

from training.rewards.sampler import Sampled, Sampler
from training.utils.data.loader import Data, read_trees
from training.utils.engine.offload import at_work
from training.utils.losses.advantages import dull_groups
from training.utils.process import dist


def replace_dull(
    sampled: list[Sampled], sampler: Sampler, data: Data, step: int, attempt: int
) -> list[Sampled]:
    """Other prompts in place of those whose samples all have one score.

    The new prompts are drawn by seed, step, attempt and number of the prompt alone, so that a resumed run draws the
    same.
    """
    dull = [are_dull(each) for each in sampled]
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


def are_dull(sampled: Sampled) -> list[bool]:
    """Whether the samples of a prompt all have one score: then a comparison of them teaches nothing, [P]."""
    return dull_groups(sampled.scores, sampled.batch.prompt_of_response, len(sampled.trees)).tolist()
