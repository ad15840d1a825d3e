"""What a reward model's pair accuracy is made of: does it look at the pictures, does it just count words?

Notation: M pairs of a better and a worse response to one prompt.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from statistics import mean

import torch

from training.utils.data.record import Record
from training.utils.losses.responses import ordered_pairs, ranks

NUM_BINS = 5  # of confidence
LENGTH_EDGES = (-10, -3, 0, 3, 10)  # words that the better response is longer by


@dataclass(frozen=True)
class Pair:
    source: str
    longer_by: int  # words of the better response less those of the worse
    margin: float  # score of the better response less that of the worse
    aspect: str = ""  # what the better one is better in; empty: all in all
    # How far a verdict on both side by side is for the better one where that is shown first, and where it is second.
    in_orders: tuple[float, float] | None = None

    @property
    def right(self) -> float:
        """1 if the scores order the pair rightly, a tie as half."""
        return 1.0 if self.margin > 0 else 0.5 if self.margin == 0 else 0.0

    @property
    def right_in_both(self) -> bool:
        """Whether the verdicts of both orders are for the better one."""
        return self.in_orders is not None and min(self.in_orders) > 0

    @property
    def confidence(self) -> float:
        """What Bradley-Terry gives the response with the higher score, 0.5 to 1."""
        return 1 / (1 + exp(-min(abs(self.margin), 500.0)))


def pairs_of(
    records: Sequence[Record],
    scores: Sequence[Sequence[float]],
    aspects: Sequence[str] = (),
    log_odds: Sequence[Sequence[Sequence[float]] | None] | None = None,
) -> list[Pair]:
    """All pairs of responses that the records do not tie.

    Args:
        scores: of the responses of each record, by the reward model.
        aspects: names of what rankings may be about, as records count them.
        log_odds: where it compares two side by side, for each record how far it is for the response of the row, which
            is shown first, against that of the column.
    """
    pairs = []
    for record, given, shown in zip(records, scores, log_odds or [None] * len(records), strict=True):
        words = [len(text.split()) for text in record.responses]
        prompt = torch.zeros(len(words), dtype=torch.long)
        rank = ranks(prompt, torch.tensor(record.scores) if record.scores else None)
        better, worse = ordered_pairs(prompt, rank)
        aspect = aspects[record.aspect] if aspects and record.aspect >= 0 else ""
        for i, j in zip(better.tolist(), worse.tolist(), strict=True):
            in_orders = (shown[i][j], -shown[j][i]) if shown else None
            pairs.append(Pair(record.origin, words[i] - words[j], given[i] - given[j], aspect, in_orders))
    return pairs


def accuracy(pairs: Iterable[Pair]) -> float:
    """Percent; 0 of none."""
    rights = [pair.right for pair in pairs]
    return 100 * mean(rights) if rights else 0.0


def in_both_orders(pairs: Sequence[Pair]) -> dict[str, float]:
    """Of a reward model that compares two side by side, percent: pairs that it is right about in both orders
    (position-consistent accuracy), pairs whose two verdicts agree (arXiv 2306.05685, section 3.3), and verdicts for
    what is shown first, of which half is no bias."""
    orders = [pair.in_orders for pair in pairs]
    return {
        "right": 100 * mean(pair.right_in_both for pair in pairs),
        "agree": 100 * mean(first * second > 0 for first, second in orders),
        "for_first": 100 * mean(((first > 0) + (second < 0)) / 2 for first, second in orders),
    }


def compared(pairs: Sequence[Pair]) -> bool:
    """Whether all pairs were shown side by side."""
    return bool(pairs) and all(pair.in_orders for pair in pairs)


def by(pairs: Sequence[Pair], name: Callable[[Pair], str]) -> dict[str, dict[str, float]]:
    """Accuracy in percent and number of pairs of each group, by its name."""
    groups = defaultdict(list)
    for pair in pairs:
        groups[name(pair)].append(pair)
    return {key: {"accuracy": accuracy(groups[key]), "pairs": len(groups[key])} for key in sorted(groups)}


def length_group(pair: Pair) -> str:
    """How many words more the better response has; the digit in front orders the groups."""
    place = sum(pair.longer_by >= edge for edge in LENGTH_EDGES)
    if place == 0:
        return f"0 shorter by more than {-LENGTH_EDGES[0]}"
    if place == len(LENGTH_EDGES):
        return f"{place} longer by {LENGTH_EDGES[-1]} or more"
    return f"{place} {LENGTH_EDGES[place - 1]:+d} to {LENGTH_EDGES[place] - 1:+d} words"


def calibration(pairs: Sequence[Pair]) -> tuple[list[dict[str, float]], float]:
    """Mean confidence and accuracy of bins of confidence, in percent, and the expected calibration error.

    ECE = sum over bins of (share of pairs) |accuracy - confidence| (arXiv 1706.04599, equation 3), percent.
    """
    bins = defaultdict(list)
    for pair in pairs:
        bins[min(int((pair.confidence - 0.5) * 2 * NUM_BINS), NUM_BINS - 1)].append(pair)
    rows = [
        {
            "confidence": 100 * mean(pair.confidence for pair in bins[place]),
            "accuracy": accuracy(bins[place]),
            "pairs": len(bins[place]),
        }
        for place in sorted(bins)
    ]
    error = sum(row["pairs"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / max(len(pairs), 1)
    return rows, error


def looks_at_pictures(true: Sequence[Pair], shuffled: Sequence[Pair]) -> bool:
    """Whether the accuracy with the right pictures is above that with others' by two standard errors.

    The same pairs are compared, so the standard error is that of the mean difference of a pair.
    """
    differences = [a.right - b.right for a, b in zip(true, shuffled, strict=True)]
    if not differences:
        return False
    gain = mean(differences)
    variance = sum((d - gain) ** 2 for d in differences) / max(len(differences) - 1, 1)
    return gain > 2 * sqrt(variance / len(differences)) and gain > 0


Views = dict[
    str, list[Pair]
]  # pairs as scored with the right pictures ("true"), others' ("shuffled"), "blank" ones


def health_report(
    pairs: Views, models: Mapping[str, str] | None = None, members: Mapping[str, Views] | None = None
) -> dict:
    """All figures, in percent.

    Args:
        pairs: with the right pictures, and where the records have any, with the others.
        models: what each reward model says of answers, in words.
        members: the same pairs by each reward model alone, where several score as one.
    """
    true = pairs["true"]
    rows, error = calibration(true)
    longer = [1.0 if pair.longer_by > 0 else 0.5 if pair.longer_by == 0 else 0.0 for pair in true]
    report = {
        "models": {**(models or {})},
        "pairs": len(true),
        **by_view(pairs),
        "accuracy_of_choosing_the_longer": 100 * mean(longer) if longer else 0.0,
        "by_source": by(true, lambda pair: pair.source),
        "by_length_difference": by(true, length_group),
        "calibration": rows,
        "calibration_error": error,
        "ties": 100 * mean(pair.margin == 0 for pair in true) if true else 0.0,
    }
    if compared(true):
        report["in_both_orders"] = {name: in_both_orders(scored) for name, scored in pairs.items()}
    if any(pair.aspect for pair in true):
        report["by_aspect"] = by(true, lambda pair: pair.aspect or "all in all")
    if members:
        report["members"] = {name: by_view(views) for name, views in members.items()}
    return report


def by_view(pairs: Views) -> dict[str, dict[str, float] | bool]:
    """Accuracy with each kind of pictures, and what that says."""
    found = {"accuracy": {name: accuracy(scored) for name, scored in pairs.items()}}
    if "shuffled" in pairs:
        found["looks_at_pictures"] = looks_at_pictures(pairs["true"], pairs["shuffled"])
    return found
