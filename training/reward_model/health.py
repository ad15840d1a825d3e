"""What a reward model's pair accuracy is made of: does it look at the pictures, does it just count words?

Notation: M pairs of a better and a worse response to one prompt.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from pathlib import Path
from statistics import mean

import torch

from training.utils.data.record import Record
from training.utils.losses.responses import ordered_pairs, ranks
from training.utils.picture import drawn

NUM_BINS = 5  # of confidence
LENGTH_EDGES = (-10, -3, 0, 3, 10)  # words that the better response is longer by


@dataclass(frozen=True)
class Pair:
    source: str
    longer_by: int  # words of the better response less those of the worse
    margin: float  # score of the better response less that of the worse
    aspect: str = ""  # what the better one is better in; empty: all in all

    @property
    def right(self) -> float:
        """1 if the scores order the pair rightly, a tie as half."""
        return 1.0 if self.margin > 0 else 0.5 if self.margin == 0 else 0.0

    @property
    def confidence(self) -> float:
        """What Bradley-Terry gives the response with the higher score, 0.5 to 1."""
        return 1 / (1 + exp(-min(abs(self.margin), 500.0)))


def pairs_of(
    records: Sequence[Record], scores: Sequence[Sequence[float]], aspects: Sequence[str] = ()
) -> list[Pair]:
    """All pairs of responses that the records do not tie.

    Args:
        scores: of the responses of each record, by the reward model.
        aspects: names of what rankings may be about, as records count them.
    """
    pairs = []
    for record, given in zip(records, scores, strict=True):
        words = [len(text.split()) for text in record.responses]
        prompt = torch.zeros(len(words), dtype=torch.long)
        rank = ranks(prompt, torch.tensor(record.scores) if record.scores else None)
        better, worse = ordered_pairs(prompt, rank)
        aspect = aspects[record.aspect] if aspects and record.aspect >= 0 else ""
        for i, j in zip(better.tolist(), worse.tolist(), strict=True):
            pairs.append(Pair(record.origin, words[i] - words[j], given[i] - given[j], aspect))
    return pairs


def accuracy(pairs: Iterable[Pair]) -> float:
    """Percent; 0 of none."""
    rights = [pair.right for pair in pairs]
    return 100 * mean(rights) if rights else 0.0


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


def health_report(pairs: dict[str, list[Pair]]) -> dict:
    """All figures, in percent.

    Args:
        pairs: as scored with the right pictures ("true"), and where the records have any, with others' ("shuffled")
            and with blank ones ("blank").
    """
    true = pairs["true"]
    rows, error = calibration(true)
    longer = [1.0 if pair.longer_by > 0 else 0.5 if pair.longer_by == 0 else 0.0 for pair in true]
    report = {
        "pairs": len(true),
        "accuracy": {name: accuracy(scored) for name, scored in pairs.items()},
        "accuracy_of_choosing_the_longer": 100 * mean(longer) if longer else 0.0,
        "by_source": by(true, lambda pair: pair.source),
        "by_length_difference": by(true, length_group),
        "calibration": rows,
        "calibration_error": error,
        "ties": 100 * mean(pair.margin == 0 for pair in true) if true else 0.0,
    }
    if any(pair.aspect for pair in true):
        report["by_aspect"] = by(true, lambda pair: pair.aspect or "all in all")
    if "shuffled" in pairs:
        report["looks_at_pictures"] = looks_at_pictures(true, pairs["shuffled"])
    return report


def as_text(report: dict) -> str:
    """The report as Markdown."""

    def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
        return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)] + [""]

    accuracies = report["accuracy"]
    lines = ["# Health of a reward model", ""]
    if "looks_at_pictures" in report:
        loss = accuracies["true"] - accuracies["shuffled"]
        lines.append(
            f"It looks at the pictures: with others' pictures it loses {loss:.1f} points of accuracy."
            if report["looks_at_pictures"]
            else f"**It does not look at the pictures**: with others' pictures it is as right ({loss:+.1f} points)."
        )
        lines.append("")
    lines += table(
        ["pictures", "pair accuracy, %"], [[name, f"{value:.1f}"] for name, value in accuracies.items()]
    )
    lines.append(
        f"{report['pairs']} pairs; choosing the longer response is right in "
        f"{report['accuracy_of_choosing_the_longer']:.1f} %; {report['ties']:.1f} % ties; calibration error "
        f"{report['calibration_error']:.1f} %."
    )
    lines.append("")
    for title, groups in (
        *([("aspect, by its own scores", report["by_aspect"])] if "by_aspect" in report else []),
        ("source", report["by_source"]),
        ("better response", {name[2:]: group for name, group in report["by_length_difference"].items()}),
    ):
        rows = [[name, f"{group['accuracy']:.1f}", str(group["pairs"])] for name, group in groups.items()]
        lines += table([title, "pair accuracy, %", "pairs"], rows)
    rows = [
        [f"{r['confidence']:.1f}", f"{r['accuracy']:.1f}", str(r["pairs"])] for r in report["calibration"]
    ]
    lines += table(["confidence, %", "pair accuracy, %", "pairs"], rows)
    return "\n".join(lines)


def draw_calibration(report: dict, picture: Path) -> None:
    """Accuracy against confidence; on the diagonal a reward model means what it says."""
    rows = report["calibration"]
    with drawn(picture, figsize=(4, 3.4)) as axis:
        axis.plot([50, 100], [50, 100], "--", color="grey", linewidth=0.8)
        axis.plot([row["confidence"] for row in rows], [row["accuracy"] for row in rows], "o-")
        axis.set_xlabel("confidence, %")
        axis.set_ylabel("pair accuracy, %")
        axis.grid(alpha=0.3)
