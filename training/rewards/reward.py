"""What rewards are: functions that score responses, and their weighted sum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
