"""What rewards are: functions that score responses, and their weighted sum."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from torch import Tensor, nn

from training.utils.data.tree import Batch, Tree


class Explained(NamedTuple):
    """Scores of a reward that can say why."""

    scores: Tensor  # [R]
    said: list[str]  # of each response why, in words; R


def scores_in(given: Tensor | Explained) -> Tensor:
    return given.scores if isinstance(given, Explained) else given


# Scores of all responses of a micro-batch, given as trees and as the same batch, [R].
Reward = Callable[[Sequence[Tree], Batch], Tensor | Explained]
# The same of several rewards, by name.
Rewards = Callable[[Sequence[Tree], Batch], dict[str, Tensor | Explained]]


class Rewarded(NamedTuple):
    """What some rewards make of R responses."""

    scores: Tensor  # [R] the weighted sum
    parts: dict[str, Tensor]  # [R] of each reward, by name; more may be there to be shown
    said: dict[str, list[str]]  # of each response why, by the names of the rewards that say it

    def by_prompt(self, counts: Sequence[int]) -> Iterator[dict[str, Any]]:
        """What a file keeps of each prompt: `scores` of its responses, their `parts` by name, and `said` by name,
        where a reward says why.

        Args:
            counts: of responses to each prompt.
        """
        columns = {name: iter(part.tolist()) for name, part in self.parts.items()}
        said = {name: iter(texts) for name, texts in self.said.items()}
        for scores in self.scores.split(list(counts)):
            num = len(scores)
            line = {"scores": scores.tolist()}
            line["parts"] = {name: [*islice(column, num)] for name, column in columns.items()}
            yield line | (
                {"said": {name: [*islice(texts, num)] for name, texts in said.items()}} if said else {}
            )


@dataclass(frozen=True)
class WeightedRewards:
    """The sum of some rewards. The scores of each are kept, so that they can be shown."""

    rewards: Sequence[Rewards]
    weights: dict[str, float]  # of the scores that count; the others are only shown
    models: tuple[nn.Module, ...] = ()  # those of them that are models

    def __call__(self, trees: Sequence[Tree], batch: Batch) -> Rewarded:
        given = {name: part for reward in self.rewards for name, part in reward(trees, batch).items()}
        said = {name: part.said for name, part in given.items() if isinstance(part, Explained)}
        parts = {name: scores_in(part).float() for name, part in given.items()}
        return Rewarded(sum(weight * parts[name] for name, weight in self.weights.items()), parts, said)


def each(rewards: dict[str, Reward]) -> Rewards:
    """Rewards that have nothing to do with each other."""
    return lambda trees, batch: {name: reward(trees, batch) for name, reward in rewards.items()}
