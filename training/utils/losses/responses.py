"""Losses of given responses, as pure functions. Nothing is reduced: the caller divides by the global count.

Notation: N learned tokens, R responses, P prompts, M pairs. Log-probabilities in nats. What compares a policy's
log-probabilities with preferences is in `preferences.py`.
"""

import torch
from torch import Tensor


def segment_sum(values: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Sums of the values of each segment, [num_segments].

    Args:
        values: [N].
        segment: which segment each belongs to, [N]; -1 for none.
    """
    # One more for those of none: to leave them out, a process would have to wait for its device.
    segment = torch.where(segment >= 0, segment, num_segments)
    return values.new_zeros(num_segments + 1).index_add(0, segment, values)[:num_segments]


def segment_mean(values: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Means of the values of each segment, [num_segments]; 0 of an empty one. Arguments as in `segment_sum`."""
    counts = segment_sum(torch.ones_like(values), segment, num_segments)
    return segment_sum(values, segment, num_segments) / counts.clamp(min=1)


def ranks(prompt_of_response: Tensor, scores: Tensor | None = None) -> Tensor:
    """How many responses to its prompt are better than each response, [R].

    Args:
        prompt_of_response: [R].
        scores: given with the responses, [R]; equal ones tie. Where they are NaN, or there are none, the responses of
            a prompt are listed best first.
    """
    place = torch.arange(len(prompt_of_response), device=prompt_of_response.device)
    is_better = place[None, :] < place[:, None]
    if scores is not None:
        given = ~scores.isnan()
        is_better = torch.where(given[:, None] & given[None, :], scores[None, :] > scores[:, None], is_better)
    return (is_better & _same_prompt(prompt_of_response)).sum(-1)


def ordered_pairs(prompt_of_response: Tensor, rank: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """All pairs of responses to one prompt that are not tied: indices of the better and of the worse, [M] each.

    Args:
        prompt_of_response: [R].
        rank: as `ranks` gives it, [R]; none: the responses of a prompt are listed best first.
    """
    rank = ranks(prompt_of_response) if rank is None else rank
    better, worse = (_same_prompt(prompt_of_response) & (rank[:, None] < rank[None, :])).nonzero(
        as_tuple=True
    )
    return better, worse


def pair_accuracy(
    scores: Tensor, prompt_of_response: Tensor, rank: Tensor | None = None
) -> tuple[Tensor, int]:
    """Number of pairs that the scores [R] order rightly, equal scores as half, and the number of pairs.

    With prompts and ranks on the CPU no process waits for its device.
    """
    better, worse = (places.to(scores.device) for places in ordered_pairs(prompt_of_response, rank))
    difference = scores[better] - scores[worse]
    return (difference > 0).sum() + 0.5 * (difference == 0).sum(), len(better)


def pair_margin(scores: Tensor, prompt_of_response: Tensor, rank: Tensor | None = None) -> tuple[Tensor, int]:
    """How far the scores [R] of better responses are ahead, summed over the pairs, and the number of pairs."""
    better, worse = (places.to(scores.device) for places in ordered_pairs(prompt_of_response, rank))
    return (scores[better] - scores[worse]).sum(), len(better)


def of_aspect(scores: Tensor, aspect: Tensor) -> Tensor:
    """The score of each response that its ranking is about, [R]: of its aspect, or the mean of all where it has none.

    Args:
        scores: of R responses in A aspects, [R, A].
        aspect: [R], -1 for none.
    """
    own = scores.gather(1, aspect.clamp(min=0)[:, None])[:, 0]
    return torch.where(aspect >= 0, own, scores.mean(1))


def plackett_luce_loss(
    scores: Tensor,
    prompt_of_response: Tensor,
    num_prompts: int,
    rank: Tensor | None = None,
    margins: Tensor | None = None,
) -> Tensor:
    """Negative log-likelihood of the ranking of each prompt's responses, [P] (Plackett 1975).

    L = sum_i log sum_j exp(s_j - s_i + m_ij), over all j that are not better than i

    With two responses and no margin this is Bradley-Terry, -log sigmoid(s_1 - s_2); with a margin it is equation 2 of
    arXiv 2307.09288. Tied responses stand in each other's sums (Breslow 1974). Prompts may have different numbers of
    responses.

    Args:
        scores: [R].
        prompt_of_response: [R].
        rank: as `ranks` gives it, [R]; none: the responses of a prompt are listed best first.
        margins: how far the score of the i-th should be above that of the j-th, [R, R], 0 on the diagonal.
    """
    scores = at_least_float(scores)
    log_sums = log_sums_from(scores, prompt_of_response, rank, margins)
    return segment_sum(log_sums - scores, prompt_of_response, num_prompts)


def log_sums_from(
    scores: Tensor, prompt_of_response: Tensor, rank: Tensor | None = None, margins: Tensor | None = None
) -> Tensor:
    """log sum_j exp(s_j + m_ij) over the responses j to the prompt of i that are not better than it, [R]."""
    rank = ranks(prompt_of_response) if rank is None else rank
    not_better = _same_prompt(prompt_of_response) & (rank[:, None] <= rank[None, :])
    raised = scores[None, :] if margins is None else scores[None, :] + margins
    return raised.masked_fill(~not_better, -torch.inf).logsumexp(-1)


def centering_loss(scores: Tensor, prompt_of_response: Tensor, num_prompts: int) -> Tensor:
    """(sum of a prompt's scores)^2, [P], which keeps them near 0; with two as in arXiv 2312.09244, section 4.1."""
    return segment_sum(at_least_float(scores), prompt_of_response, num_prompts).square()


def regression_loss(scores: Tensor, targets: Tensor, prompt_of_response: Tensor, num_prompts: int) -> Tensor:
    """Mean squared error of the scores of each prompt's responses, [P].

    Args:
        targets: the scores that the records give, [R].
    """
    errors = (at_least_float(scores) - targets).square()
    return segment_mean(errors, prompt_of_response, num_prompts)


def _same_prompt(prompt_of_response: Tensor) -> Tensor:
    return prompt_of_response[:, None] == prompt_of_response[None, :]


def at_least_float(values: Tensor) -> Tensor:
    """The values, in fp32 if their precision is lower."""
    return values if values.dtype == torch.float64 else values.float()
