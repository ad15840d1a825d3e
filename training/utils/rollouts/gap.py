"""How far an engine's log-probabilities of what it sampled are from the trainer's of the same tokens.

Both are of the whole distribution at the sampling temperature, so in exact arithmetic they are equal. In bf16 they
differ by some hundredths of a nat, because the kernels differ.

Notation: N response tokens of a process as a flat list.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.tree import Batch, Tree
from ..process import dist
from ..process.told import Told
from .rollout_engine import Answers

FAR = 0.1  # nats
UNSURE = 0.5  # nats of entropy from which on surprise says something after some hundred tokens
FEWEST = 500  # of such tokens


class EngineGap(Told):
    """The engine samples from something else than the policy."""

    status = 2


@dataclass(frozen=True)
class Gap:
    """Over all tokens of all processes.

    Attributes:
        mean, max: of |log p engine - log p trainer|, nats.
        share: of tokens that differ by more than 0.1 nats.
        surprise: standard deviations between the surprise of the tokens, -log p, and what the entropy says it should
            be; far below 0 where likely tokens come too often. NaN where it can't be told.
    """

    mean: float
    max: float
    share: float
    surprise: float

    @property
    def figures(self) -> dict[str, float]:
        return {"gap_mean": self.mean, "gap_max": self.max, "gap_share": self.share}


def logps_told(trees: Sequence[Tree], batch: Batch) -> Tensor | None:
    """Log-probabilities of the response tokens by the engine that sampled them, nats, [N]; none if it did not tell.

    Args:
        batch: of the trees, on the device where they are wanted.
    """
    known = [response.sampled_logps for tree in trees for response in tree.responses]
    if any(logps is None for logps in known):
        return None
    return torch.tensor([logp for logps in known for logp in logps], device=batch.label_ids.device)


def measure_gap(sampled_logps: Tensor, logps: Tensor, entropy: Tensor) -> Gap:
    """All processes must call it.

    If tokens come from p, then -log p(token) - H(p) has mean 0, whatever came before. The sum over tokens, over the
    root of the sum of squares, is about standard normal. Tokens that the policy is sure of are left out: their rare
    surprises may all be missing from a step.

    Args:
        sampled_logps: by the engine, [N].
        logps: by the trainer, [N].
        entropy: of the trainer's distribution at each token, nats, [N].
    """
    difference = (sampled_logps - logps).abs().double()
    excess = (-logps - entropy).double()[entropy > UNSURE]
    counts = [len(difference), float(difference.sum()), float((difference > FAR).sum())]
    sums = [len(excess), float(excess.sum()), float(excess.square().sum())]
    highest = float(difference.max()) if len(difference) else 0.0
    table = dist.gather_numbers([*counts, *sums, highest])
    num, total, far, unsure, excess_sum, squares = table[:, :-1].sum(0).tolist()
    surprise = excess_sum / squares**0.5 if unsure >= FEWEST and squares > 0 else float("nan")
    return Gap(total / num, float(table[:, -1].max()), far / num, surprise)


def mean_gap(sampled_logps: Tensor, logps: Tensor) -> float:
    """Its mean alone. All processes must call it."""
    difference = (sampled_logps - logps).abs().double()
    total, num = dist.sum_over_ranks(torch.stack([difference.sum().cpu(), torch.tensor(len(difference))]))
    return float(total / num)


def require_same_prompts(prompts: Sequence[Tree], answered: Sequence[Answers]) -> None:
    """
    Raises:
        EngineGap: the engine has read other tokens than the trainer will.
    """
    for tree, answers in zip(prompts, answered, strict=True):
        mine, theirs = tree.prompt_ids, answers.prompt_ids
        if mine != theirs:
            same = next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), None)
            place = min(len(mine), len(theirs)) if same is None else same
            raise EngineGap(
                f"record {tree.id}: the engine has read another prompt than the trainer: {len(theirs)} tokens and "
                f"not {len(mine)}, other ones from number {place} on; the prompt was cut, or template or image "
                "processor differ"
            )
