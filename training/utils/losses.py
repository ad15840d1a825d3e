"""Losses of given responses, as pure functions. Nothing is reduced: the caller divides by the global count.

Notation: N learned tokens, R responses, P prompts, M pairs. Log-probabilities in nats. What compares a policy's
log-probabilities with preferences is in `preference_losses.py`.
"""

import torch
from torch import Tensor


def segment_sum(values: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Sums of the values of each segment, [num_segments].

    Args:
        values: [N].
        segment: which segment each belongs to, [N]; -1 for none.
    """
    counted = segment >= 0
    return values.new_zeros(num_segments).index_add(0, segment[counted], values[counted])


def ordered_pairs(prompt_of_response: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of responses to one prompt: indices of the better and of the worse, [M] each.

    Args:
        prompt_of_response: [R]; the responses of a prompt are listed best first.
    """
    same = prompt_of_response[:, None] == prompt_of_response[None, :]
    better, worse = same.triu(diagonal=1).nonzero(as_tuple=True)
    return better, worse


def pair_accuracy(scores: Tensor, prompt_of_response: Tensor) -> tuple[Tensor, int]:
    """Number of pairs that the scores [R] order rightly, a tie as half, and the number of pairs."""
    better, worse = ordered_pairs(prompt_of_response)
    difference = scores[better] - scores[worse]
    return (difference > 0).sum() + 0.5 * (difference == 0).sum(), len(better)


def plackett_luce_loss(scores: Tensor, prompt_of_response: Tensor, num_prompts: int) -> Tensor:
    """Negative log-likelihood of the ranking of each prompt's responses, [P] (Plackett 1975).

    L = sum_i [ log sum_{j >= i} exp(s_j) - s_i ], responses listed best first; with two of them this is
    Bradley-Terry, -log sigmoid(s_1 - s_2). Prompts may have different numbers of responses.

    Args:
        scores: [R].
        prompt_of_response: [R].
    """
    scores = at_least_float(scores)
    return segment_sum(log_sums_from(scores, prompt_of_response) - scores, prompt_of_response, num_prompts)


def log_sums_from(scores: Tensor, prompt_of_response: Tensor) -> Tensor:
    """log sum_{j >= i} exp(s_j) over the responses of a prompt from the i-th on, [R]."""
    place = torch.arange(len(scores), device=scores.device)
    not_before = (prompt_of_response[:, None] == prompt_of_response[None, :]) & (
        place[:, None] <= place[None, :]
    )
    return scores[None, :].masked_fill(~not_before, -torch.inf).logsumexp(-1)


def at_least_float(values: Tensor) -> Tensor:
    """The values, in fp32 if their precision is lower."""
    return values if values.dtype == torch.float64 else values.float()
