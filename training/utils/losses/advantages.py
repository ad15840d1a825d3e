"""Advantages of policy optimisation, as pure functions: of tokens from values, of responses from each other.

Notation: R responses, L tokens of the longest. A mask [R, L] is True on response tokens; a group are the responses to
a prompt.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from .policy import RunningMoments
from .responses import segment_mean, segment_sum


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv 1506.02438, equation 16); the value behind the last token is 0.

    delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lam A_{t+1}

    Returns:
        Advantages and returns (advantage plus value), [R, L], 0 off the mask.
    """
    values = values * mask
    delta = (rewards + gamma * _later(values, 1) - values) * mask
    advantages = discounted_sums(delta, gamma * lam) * mask
    return advantages, advantages + values


def discounted_sums(values: Tensor, discount: float) -> Tensor:
    """sum_{k >= 0} discount^k x_{t+k}, [R, L], in log2(L) passes: each doubles how far a sum reaches."""
    reach = 1
    while reach < values.shape[1]:
        values = values + discount**reach * _later(values, reach)
        reach *= 2
    return values


def _later(values: Tensor, steps: int) -> Tensor:
    """The value that stands some steps later, and 0 behind the last, [R, L]."""
    return pad(values[:, steps:], (0, steps))


def returns_to_go(rewards: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """The discounted sum of the rewards from each token on, [R, L]; 0 off the mask.

    GAE with values of 0 and lambda = 1 is that sum.
    """
    advantages, _ = gae(rewards, torch.zeros_like(rewards), mask, gamma, lam=1.0)
    return advantages


def leave_one_out_advantages(totals: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """RLOO (arXiv 2402.14740, equation 6): each response against the mean of the others to its prompt, [R].

    A_i = R_i - 1 / (G - 1) sum_{j != i} R_j

    Args:
        totals: sum of the rewards of each response, [R].
        group: its prompt, [R]; two or more responses each.
    """
    sums, sizes = segment_sum(totals, group, num_groups), _group_sizes(totals, group, num_groups)
    return totals - (sums[group] - totals) / (sizes[group] - 1)


def group_advantages(totals: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """GRPO (arXiv 2402.03300, section 4.1.2): A_i = (R_i - mean(R)) / std(R) over the responses to a prompt, [R].

    The standard deviation is the sample's; where all rewards are equal the advantages are 0.
    """
    sizes = _group_sizes(totals, group, num_groups)
    deviations = group_mean_advantages(totals, group, num_groups)
    variances = segment_sum(deviations.square(), group, num_groups) / (sizes - 1)
    return deviations / (variances.sqrt()[group] + 1e-4)


def group_mean_advantages(totals: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """Dr. GRPO (arXiv 2503.20783, section 3.2): A_i = R_i - mean(R) over the responses to a prompt, [R]."""
    return totals - segment_mean(totals, group, num_groups)[group]


def step_advantages(totals: Tensor) -> Tensor:
    """(R_i - mean) / std over all responses of a step and all processes, [R] (the last step of GDPO, arXiv
    2601.05242, section 3). All must call it."""
    moments = RunningMoments()
    moments.add(totals)
    return (totals - moments.mean) / (moments.std + 1e-4)


def dull_groups(scores: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """Whether all scores [R] of a group are equal, so that comparing them teaches nothing, bool, [num_groups]."""
    lowest, highest = (
        scores.new_zeros(num_groups).scatter_reduce(0, group, scores, how, include_self=False)
        for how in ("amin", "amax")
    )
    return lowest == highest


def _group_sizes(values: Tensor, group: Tensor, num_groups: int) -> Tensor:
    return segment_sum(torch.ones_like(values), group, num_groups)
