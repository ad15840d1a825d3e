"""Sampling by the policy itself, on trees: with its own weights and its own forward pass, so nothing is sent over."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..data.tree import Tree
from ..model.generate import Sampling, generate
from ..process.progress import progress
from .rollout_engine import Answers, Lend


class OwnEngine:
    """
    Args:
        at_a_time: prompts that are answered in one call of generation.
    """

    def __init__(self, lend: Lend, pad_id: int, at_a_time: int) -> None:
        self.lend, self.pad_id, self.at_a_time = lend, pad_id, at_a_time

    @contextmanager
    def awake(self) -> Iterator[None]:
        yield

    def respond(
        self, prompts: Sequence[Tree], sampling: Sampling, num_samples: int, seeds: Sequence[int]
    ) -> list[Answers]:
        answered = []
        with self.lend() as policy:
            for first in range(0, len(prompts), self.at_a_time):
                progress.mark()
                some = slice(first, first + self.at_a_time)
                responses = generate(policy, prompts[some], sampling, num_samples, seeds[some], self.pad_id)
                pairs = zip(prompts[some], responses, strict=True)
                answered += [Answers(tree.prompt_ids, ids) for tree, ids in pairs]
        return answered
