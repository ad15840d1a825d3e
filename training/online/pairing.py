"""Which of the answers sampled to a prompt are learned from: pure functions of their scores and lengths.

best_and_worst      the best against the worst of n            arXiv 2405.07863, section 3.2
sampled_pairs       some of all pairs that differ enough       RLAIF-V, arXiv 2405.17220, section 2
ranked              all of them, for losses that rank          arXiv 2305.18290, appendix A.3
best                the best alone, to imitate                 RAFT, arXiv 2304.06767, algorithm 1

balance_lengths     leaves out pairs so that the better answers are as long as the worse ones, as RLAIF-V does
"""

import random
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

Choice = tuple[int, ...]  # places of answers, the best first: one to imitate, two or more to rank
CUTS = [0.02 * number for number in range(50)]  # shares of its length that a better answer may lack


def best_and_worst(scores: Sequence[float], margin: float = 0.0) -> list[Choice]:
    """The pair of the best and the worst answer; of equal ones the first. None where their scores are less than
    `margin` apart, or equal."""
    best = max(range(len(scores)), key=scores.__getitem__)
    worst = min(range(len(scores)), key=scores.__getitem__)
    return [(best, worst)] if is_better(scores[best], scores[worst], margin) else []


def sampled_pairs(
    scores: Sequence[float], most: int, rng: random.Random, margin: float = 0.0
) -> list[Choice]:
    """At most `most` pairs, drawn at random of all whose scores are at least `margin` apart, and not equal."""
    pairs = [
        (one, two) if scores[one] > scores[two] else (two, one)
        for one, two in combinations(range(len(scores)), 2)
        if is_better(max(scores[one], scores[two]), min(scores[one], scores[two]), margin)
    ]
    return rng.sample(pairs, min(most, len(pairs)))


def ranked(scores: Sequence[float], margin: float = 0.0) -> list[Choice]:
    """All answers, the best first; none where the best and the worst are less than `margin` apart, or equal."""
    if not best_and_worst(scores, margin):
        return []
    return [tuple(sorted(range(len(scores)), key=lambda place: -scores[place]))]


def best(scores: Sequence[float], least: float | None = None) -> list[Choice]:
    """The best answer, the first of equal ones; none where its score is below `least`."""
    place = max(range(len(scores)), key=scores.__getitem__)
    return [(place,)] if least is None or scores[place] >= least else []


def is_better(higher: float, lower: float, margin: float) -> bool:
    return higher > lower and higher - lower >= margin


def balance_lengths(lengths: Sequence[tuple[int, int]]) -> list[bool]:
    """Which pairs to keep, so that the better answers are as long in the mean as the worse ones.

    Left out are pairs whose better answer is shorter by more than some share of the worse one's length. Of the shares
    0, 0.02, ..., 0.98 the one is taken after which the two means differ least, measured by the mean of the worse
    answers; of equal ones the smallest. Pairs whose better answer is longer all stay.

    Args:
        lengths: of the better and the worse answer of each pair, at least 1 of the worse one.
    """
    lacks = [(worse - better) / worse for better, worse in lengths]

    def imbalance(cut: float) -> float:
        kept = [pair for pair, lack in zip(lengths, lacks, strict=True) if lack <= cut]
        if not kept:
            return float("inf")
        better, worse = (fmean(column) for column in zip(*kept, strict=True))
        return abs(better - worse) / worse

    cut = min(CUTS, key=imbalance)
    kept = [lack <= cut for lack in lacks]
    return kept if any(kept) else [True] * len(kept)
