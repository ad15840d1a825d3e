"""What rewards are: functions that score responses, and their weighted sum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from training.utils.data.tree import Batch, Tree

# Scores of all responses of a micro-batch, given as trees and as the same batch, [R].
Reward = Callable[[Sequence[Tree], Batch], Tensor]
# The same of several rewards, by name.
Rewards = Callable[[Sequence[Tree], Batch], dict[str, Tensor]]


@dataclass(frozen=True)
class WeightedRewards:
    """The sum of some rewards. The scores of each are kept, so that they can be shown."""

    rewards: Sequence[Rewards]
    weights: dict[str, float]  # of the scores that count; the others are only shown
    models: tuple[nn.Module, ...] = ()  # those of them that are models

    def __call__(self, trees: Sequence[Tree], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and the parts by name, [R] each."""
        parts = {name: part.float() for reward in self.rewards for name, part in reward(trees, batch).items()}
        return sum(weight * parts[name] for name, weight in self.weights.items()), parts


def each(rewards: dict[str, Reward]) -> Rewards:
    """Rewards that have nothing to do with each other."""
    return lambda trees, batch: {name: reward(trees, batch) for name, reward in rewards.items()}
