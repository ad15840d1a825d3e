"""Verdicts as a reward: how much likelier the one verdict is than the other, in nats, and what was said before it.

Notation: K answers to a prompt, Q questions about them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.rewards.counted import Counted
from training.rewards.critique import CritiqueWriter
from training.rewards.reward import Explained
from training.rewards.verdict_reader import Questions, VerdictReader
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.tree import Batch, Tree
from training.utils.process import dist


def compared(log_odds: Tensor) -> Tensor:
    """Scores of K answers from verdicts on all pairs in both orders, [K].

    For a pair it counts how much likelier the one answer is the better one, the mean over both orders, so that what
    the place alone decides falls out. An answer's score is the mean over all answers, itself with 0 among them: then
    differences of scores are the least-squares fit to those of the pairs (arXiv 0811.1067), and of two answers they
    are just theirs. PairRanker's MaxLogits is the same but for a factor (arXiv 2306.02561).

    Args:
        log_odds: that the answer of the row, which is shown first, is better than that of the column, nats, [K, K].
    """
    return (log_odds - log_odds.T).mean(1) / 2


@dataclass(frozen=True)
class Verdict:
    """What was said of the answers to a prompt.

    Attributes:
        scores: [K]
        log_odds: where two are compared, that the answer of the row, which is shown first, is better than that of the
            column, nats, 0 of each with itself, [K, K].
        critiques: of each answer, or of each pair by row and column; none where the form has none.
        cut: of each answer, whether it lost its end.
    """

    scores: Tensor
    log_odds: Tensor | None
    critiques: list[str] | list[list[str]] | None
    cut: list[bool]

    @property
    def said(self) -> list[str]:
        """Why, of each answer: its critique, or those of its pairs where it is shown first; empty where there are
        none."""
        if self.critiques is None or self.log_odds is None:
            return self.critiques or [""] * len(self.cut)
        rows = enumerate(self.critiques)
        return [
            "\n".join(f"against {other + 1}: {text}" for other, text in enumerate(row) if other != place)
            for place, row in rows
        ]

    def line(self) -> dict[str, list]:
        """What of it a file keeps beside the scores."""
        found = {
            "log_odds": None if self.log_odds is None else self.log_odds.tolist(),
            "cut": self.cut if any(self.cut) else None,
        }
        return {name: value for name, value in found.items() if value is not None}


class VerdictReward:
    """The reward of a model that gives verdicts.

    Attributes:
        latest: what was said of each tree when it was called last.
    """

    def __init__(
        self, name: str, model: nn.Module, reader: VerdictReader, policy_encoder: Encoder, has_images: bool
    ) -> None:
        """
        Args:
            name: of the scores.
            model: gives the log-odds of the verdicts where they are said (`build_value_model`).
        """
        self.name, self.model, self.reader, self.policy_encoder = name, model, reader, policy_encoder
        self.latest: list[Verdict] = []
        self.collate = Collator(reader.encoder, has_images)
        form = reader.form
        self.writer = CritiqueWriter(model, reader.encoder, form) if form.has_critique else None
        self.alone = Counted(
            "verdicts: {bad} of {all} prompts so far have one answer, and this reward model says which of two is "
            "better: their score is 0"
        )

    def __call__(self, trees: Sequence[Tree], batch: Batch) -> dict[str, Tensor | Explained]:
        self.latest = self.verdicts(trees)
        scores = torch.cat([verdict.scores for verdict in self.latest])
        said = [why for verdict in self.latest for why in verdict.said]
        return {self.name: Explained(scores, said) if self.writer else scores}

    def verdicts(self, trees: Sequence[Tree]) -> list[Verdict]:
        """What is said of the responses of each tree."""
        form, decode = self.reader.form, self.policy_encoder.decode
        answers = [[decode(response.ids) for response in tree.responses] for tree in trees]
        asked = [self.reader.ask(tree.record, texts) for tree, texts in zip(trees, answers, strict=True)]
        self.alone.count([form.compares and len(texts) == 1 for texts in answers])
        critiques = self._critiques(asked)
        own = [
            each.tree([self.reader.lead(text) for text in texts])
            for each, texts in zip(asked, critiques, strict=True)
        ]
        on_device = self.collate(own).to(dist.device())
        log_odds = self.model(on_device, on_device.last_token).split([len(each.ids) for each in asked])
        said = zip(asked, log_odds, critiques, strict=True)
        return [self._verdict(each, odds, texts) for each, odds, texts in said]

    def _verdict(self, asked: Questions, log_odds: Tensor, critiques: list[str]) -> Verdict:
        form, num = self.reader.form, len(asked.cut)
        if not form.compares:
            return Verdict(log_odds, None, critiques if form.has_critique else None, asked.cut)
        of_pairs, texts = log_odds.new_zeros(num, num), [[""] * num for _ in range(num)]
        for (first, second), odds, text in zip(form.orders(num), log_odds, critiques, strict=True):
            of_pairs[first, second], texts[first][second] = odds, text
        return Verdict(compared(of_pairs), of_pairs, texts if form.has_critique else None, asked.cut)

    def _critiques(self, asked: Sequence[Questions]) -> list[list[str]]:
        """What is said to each question before the verdict."""
        if not self.writer:
            return [[""] * len(each.ids) for each in asked]
        written = iter(self.writer.write([prompt for each in asked for prompt in each.prompts()]))
        return [[next(written) for _ in each.ids] for each in asked]
