"""The shift of BCO (arXiv 2404.04656, section 3.2): the mean of all implicit rewards so far."""

from typing import Any

import torch
from torch import Tensor

from training.utils.losses.policy import RunningMoments


class MeanReward:
    """It moves once an optimizer step, by the rewards of that step on all processes: so it is the same for all of a
    step's micro-batches, however the step is cut."""

    def __init__(self) -> None:
        self.moments = RunningMoments()
        self.seen: list[Tensor] = []  # of this step

    @property
    def value(self) -> float:
        """Of the steps before this one; 0 in the first, where the policy is the reference."""
        return self.moments.mean

    def see(self, rewards: Tensor) -> None:
        """
        Args:
            rewards: of a micro-batch that is learned from, [R].
        """
        self.seen.append(rewards)

    def end_step(self) -> None:
        """All processes must call it."""
        if self.seen:
            self.moments.add(torch.cat(self.seen))
            self.seen.clear()

    def state_dict(self) -> dict[str, Any]:
        return self.moments.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.moments.load_state_dict(state)
