"""What moves a policy: ratios to the policy that sampled, losses made of them, and how tokens are averaged.

Notation: N response tokens as a flat list, R responses; `response` [N] says which one a token belongs to. A ratio is
rho = pi / pi_old, A an advantage. What is clipped is a boolean of the same shape, for the log.
"""

import torch
from torch import Tensor

from .policy import kl_k2, kl_k3
from .responses import segment_mean, segment_sum


def log_ratios(logps: Tensor, old_logps: Tensor, response: Tensor, num_responses: int, level: str) -> Tensor:
    """log rho of each token, [N].

    token     its own (arXiv 1707.06347, equation 6)
    sequence  the mean over its response, so that lengths do not matter (GSPO, arXiv 2507.18071, equation 7)
    product   the sum over its response, which is one action (RLOO, arXiv 2402.14740)
    """
    of_tokens = logps - old_logps
    if level == "token":
        return of_tokens
    over_response = segment_mean if level == "sequence" else segment_sum
    return over_response(of_tokens, response, num_responses)[response]


def clip_loss(ratio: Tensor, advantages: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Clipped surrogate (arXiv 1707.06347, equation 7; two bounds: DAPO, arXiv 2503.14476, equation 10), and where
    the clip acted.

    L = -min(rho A, clip(rho, 1 - low, 1 + high) A)
    """
    free = -ratio * advantages
    clipped = -ratio.clamp(1 - low, 1 + high) * advantages
    return torch.maximum(free, clipped), clipped > free


def cispo_loss(
    ratio: Tensor, logps: Tensor, advantages: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """REINFORCE with a clipped weight that has no gradient, so every token learns (CISPO, arXiv 2506.13585,
    equations 4 and 5), and where the clip acted. A ratio is never below 0: `low` of 1 is no lower bound.

    L = -sg(clip(rho, 1 - low, 1 + high)) A log pi
    """
    weight = ratio.detach().clamp(1 - low, 1 + high)
    return -weight * advantages * logps, weight != ratio


def sapo_loss(ratio: Tensor, advantages: Tensor, tau_pos: float, tau_neg: float) -> tuple[Tensor, Tensor]:
    """A soft gate in place of a clip, of slope 1 where the policy has not moved (SAPO, arXiv 2511.20347, section 3);
    no clip acts.

    L = -4 / tau sigmoid(tau (rho - 1)) A, with tau_pos where A > 0 and else tau_neg
    """
    tau = torch.where(advantages > 0, tau_pos, tau_neg)
    return -4 / tau * (tau * (ratio - 1)).sigmoid() * advantages, torch.zeros_like(ratio, dtype=torch.bool)


def kl_loss(logps: Tensor, ref_logps: Tensor, ratio: Tensor, gradient: str) -> Tensor:
    """The KL of tokens to the reference, to be charged in the loss, [N]. They differ in their gradients.

    k3        r - 1 - log r with r = ref / pi (GRPO, arXiv 2402.03300, equation 4)
    k3_ratio  the same times rho: its gradient stays that of the KL as the policy moves away from where it sampled
              (DeepSeek-V3.2, arXiv 2512.02556)
    k2        (log r)^2 / 2, whose gradient is that of the KL where the policy sampled (REINFORCE++, arXiv 2501.03262)
    """
    if gradient == "k2":
        return kl_k2(logps, ref_logps)
    kl = kl_k3(logps, ref_logps)
    return ratio * kl if gradient == "k3_ratio" else kl


def token_weights(lengths: Tensor, response: Tensor, aggregation: str, max_length: int) -> Tensor:
    """What each token counts in a sum that is then divided by `weighed_count`, [N].

    token       1: the mean over tokens (DAPO, arXiv 2503.14476, equation 8)
    response    1 / |o|: the mean over responses of the mean over their tokens (GRPO, arXiv 2402.03300, equation 3)
    max_length  1 / max_length: the mean over responses of a sum over tokens (Dr. GRPO, arXiv 2503.20783, section 3.2)

    Args:
        lengths: tokens of each response, [R].
        max_length: tokens that a response may have.
    """
    if aggregation == "response":
        return 1 / lengths[response]
    weight = 1 / max_length if aggregation == "max_length" else 1.0
    return torch.full_like(response, weight, dtype=torch.float32)


def weighed_count(num_tokens: int, num_responses: int, aggregation: str) -> int:
    """What the sum that is weighed by `token_weights` is a mean over."""
    return num_tokens if aggregation == "token" else num_responses
