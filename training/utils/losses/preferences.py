"""Losses that teach a policy preferences, as pure functions. Nothing is reduced: a loss for each pair or prompt.

Notation: R responses, P prompts, M pairs; a pair is of a chosen (w) and a rejected (l) response to one prompt.
log pi(y) is the log-probability of a whole response in nats, |y| its length in tokens; the log-ratio is
h(y) = log pi(y) - log pi_ref(y), and the implicit reward r(y) = beta h(y).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from .responses import at_least_float, log_sums_from, segment_sum


def dpo_loss(margin: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """DPO (arXiv 2305.18290, equation 7); with label smoothing cDPO (Mitchell 2023), [M].

    L = -(1 - eps) log sigmoid(z) - eps log sigmoid(-z), z = r(w) - r(l)

    Args:
        margin: z, [M].
        label_smoothing: eps, the share of labels taken to be wrong.
    """
    z = at_least_float(margin)
    return -(1 - label_smoothing) * logsigmoid(z) - label_smoothing * logsigmoid(-z)


def robust_dpo_loss(margin: Tensor, label_smoothing: float) -> Tensor:
    """Robust DPO (arXiv 2403.00409, equation 10): unbiased where a share eps < 1/2 of the labels is flipped, [M].

    L = [-(1 - eps) log sigmoid(z) + eps log sigmoid(-z)] / (1 - 2 eps)
    """
    z = at_least_float(margin)
    flipped = (1 - label_smoothing) * logsigmoid(z) - label_smoothing * logsigmoid(-z)
    return -flipped / (1 - 2 * label_smoothing)


def hinge_loss(margin: Tensor) -> Tensor:
    """SLiC-HF's calibration (arXiv 2305.10425, equation 1) on implicit rewards: L = max(0, 1 - z), [M]."""
    return relu(1 - at_least_float(margin))


def ipo_loss(log_ratio_margin: Tensor, beta: float) -> Tensor:
    """IPO (arXiv 2310.12036, equation 17): L = (h(w) - h(l) - 1 / (2 beta))^2, [M].

    Args:
        log_ratio_margin: h(w) - h(l), [M]. As its authors recommend, of log-ratios averaged over tokens.
    """
    return (at_least_float(log_ratio_margin) - 1 / (2 * beta)).square()


def simpo_loss(mean_logps_margin: Tensor, beta: float, gamma: float) -> Tensor:
    """SimPO (arXiv 2405.14734, equation 6), which needs no reference, [M].

    L = -log sigmoid(beta log pi(w) / |w| - beta log pi(l) / |l| - gamma)
    """
    return -logsigmoid(beta * at_least_float(mean_logps_margin) - gamma)


def odds_ratio_loss(chosen_mean_logps: Tensor, rejected_mean_logps: Tensor) -> Tensor:
    """ORPO's odds-ratio term (arXiv 2403.07691, equation 7), [M].

    L = -log sigmoid(log odds(w) - log odds(l)), odds = p / (1 - p), p = pi(y)^(1 / |y|)
    """
    chosen, rejected = at_least_float(chosen_mean_logps), at_least_float(rejected_mean_logps)
    return -logsigmoid(chosen - _log1m_exp(chosen) - rejected + _log1m_exp(rejected))


def kto_loss(rewards: Tensor, desirable: Tensor, baseline: Tensor) -> Tensor:
    """KTO (arXiv 2402.01306, equation 8) without its weights: each response alone is desirable or not, [R].

    L = 1 - sigmoid(r - z0) where it is, 1 - sigmoid(z0 - r) where it is not

    Args:
        rewards: implicit rewards r, [R].
        desirable: bool, [R].
        baseline: z0 = beta KL(pi || pi_ref), [], estimated on answers to other prompts; a constant.
    """
    ahead = at_least_float(rewards) - baseline
    return torch.sigmoid(torch.where(desirable, -ahead, ahead))


def bco_loss(rewards: Tensor, desirable: Tensor, shift: float) -> Tensor:
    """BCO (arXiv 2404.04656, equation 9): a classifier of single responses with the implicit reward as logit, [R].

    L = -log sigmoid(r - delta) where a response is desirable, -log sigmoid(delta - r) where it is not

    Args:
        rewards: implicit rewards r, [R].
        desirable: bool, [R].
        shift: delta, the mean of the rewards of the steps before.
    """
    ahead = at_least_float(rewards) - shift
    return -logsigmoid(torch.where(desirable, ahead, -ahead))


def anchored_loss(chosen_rewards: Tensor, anchor: float = 0.0) -> Tensor:
    """mDPO's anchored preference (arXiv 2406.11839, equation 5): the chosen reward shall exceed the anchor, [P].

    L = -log sigmoid(r(w) - delta)
    """
    return -logsigmoid(at_least_float(chosen_rewards) - anchor)


def biased_ranking_loss(
    rewards: Tensor,
    prompt_of_response: Tensor,
    num_prompts: int,
    label_smoothing: float = 0.0,
    rank: Tensor | None = None,
) -> Tensor:
    """What Vision-LLM-Alignment minimises over K ranked responses, [P].

    L = -(1 - eps) log Q - eps log(1 - Q), Q = prod_i exp(r_i) / (0.01 + sum_{j >= i} exp(r_j)), best first

    Plackett-Luce has no 0.01. It matters where the rewards are far below 0: there the last factors fall to 0, and
    their gradient raises the rewards of all responses instead of only ordering them.

    Args:
        rewards: implicit rewards r, [R].
        rank: of each response, [R]; none: best first.
    """
    rewards = at_least_float(rewards)
    bias = torch.full_like(rewards, math.log(0.01))
    log_factors = rewards - torch.logaddexp(
        log_sums_from(rewards, prompt_of_response, rank), bias
    )  # [R], below 0
    log_q = segment_sum(log_factors, prompt_of_response, num_prompts)
    if not label_smoothing:
        return -log_q
    return -(1 - label_smoothing) * log_q - label_smoothing * _log1m_exp(log_q)


def _log1m_exp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, precise near 0 and far from it (Maechler 2012); x above -1e-7 counts as that."""
    x = x.clamp(max=-1e-7)
    near = x > -math.log(2)
    # Each branch gets a harmless argument where the other one is used: else its gradient would be NaN.
    return torch.where(
        near,
        torch.log(-torch.expm1(torch.where(near, x, -1.0))),
        torch.log1p(-torch.exp(torch.where(near, -1.0, x))),
    )
