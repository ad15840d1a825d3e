"""How far a student's next-token distributions are from a teacher's."""

import math

import torch
from torch import Tensor


def generalised_jsd(student_logits: Tensor, teacher_logits: Tensor, beta: float) -> Tensor:
    """Generalised Jensen-Shannon divergence of each token, nats, [N] (arXiv 2306.13649, equation 1).

    D = beta KL(P | M) + (1 - beta) KL(Q | M) with P the teacher, Q the student, M = beta P + (1 - beta) Q

    At the ends it is what the scaled divergence tends to: KL(P | Q) at 0, KL(Q | P) at 1.

    Args:
        student_logits: [N, V].
        teacher_logits: of the same tokens, [N, V].
    """
    q, p = student_logits.float().log_softmax(-1), teacher_logits.float().log_softmax(-1)
    if beta == 0:
        return _kl(p, q)
    if beta == 1:
        return _kl(q, p)
    mixture = torch.logaddexp(p + math.log(beta), q + math.log1p(-beta))
    return beta * _kl(p, mixture) + (1 - beta) * _kl(q, mixture)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p | q) of log-probabilities, [N, V] -> [N]."""
    return (p.exp() * (p - q)).sum(-1)
