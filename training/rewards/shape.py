"""Rewards of how a response is written, whatever it says."""

import re

from training.rewards.answers import Score
from training.utils.config.rewards_config import RewardsConfig


def form(config: RewardsConfig) -> Score:
    """1 where the whole response matches `--reward_format`."""
    pattern = re.compile(config.reward_format, re.DOTALL)
    return lambda text: float(pattern.fullmatch(text.strip()) is not None)


def length(config: RewardsConfig) -> Score:
    """0 for as many words as `--reward_length` MIN MAX says; it falls to -1 at none, and at twice MAX."""
    least, most = config.reward_length

    def score(text: str) -> float:
        found = len(text.split())
        below, above = (least - found) / max(least, 1), (found - most) / most
        return -min(max(below, above, 0.0), 1.0)

    return score
