"""The arithmetic of policy optimisation, as pure functions, and two small running states. Advantages are in
`advantages.py`, what moves the policy by them in `surrogates.py`.

Notation: N response tokens as a flat list, R responses, L tokens of the longest. Log-probabilities and KL in
nats. A mask [R, L] is True on response tokens.
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..process import dist


def dense(response: Tensor, num_responses: int, *values: Tensor) -> tuple[Tensor, ...]:
    """Flat lists of tokens as one row for each response: the mask [R, L], then each list [R, L], zero-padded.

    `response` is in ascending order, as `collate` makes it, and best on the CPU: all that depends on lengths is
    worked out where it is, so no process waits for its device. The mask stays there, for `flat`.

    >>> mask, rows = dense(torch.tensor([0, 0, 1]), 2, torch.tensor([1.0, 2.0, 3.0]))
    >>> mask.tolist(), rows.tolist()
    ([[True, True], [True, False]], [[1.0, 2.0], [3.0, 0.0]])
    """
    lengths = torch.bincount(response, minlength=num_responses)  # [R]
    length = int(lengths.max())
    mask = torch.arange(length, device=response.device)[None, :] < lengths[:, None]
    rows = [
        value.new_zeros(mask.numel()).index_copy(0, _places(mask, value.device), value).view_as(mask)
        for value in values
    ]
    return mask, *rows


def flat(values: Tensor, mask: Tensor) -> Tensor:
    """The inverse of `dense`: [R, L] -> [N]."""
    return values.flatten()[_places(mask, values.device)]


def _places(mask: Tensor, device: torch.device) -> Tensor:
    """Where a mask is True, in the order of its rows, [N]."""
    return mask.flatten().nonzero()[:, 0].to(device)


def kl_k1(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """Unbiased estimate of the KL of a token, log pi - log ref (joschu.net/blog/kl-approx.html, k1)."""
    return logps - ref_logps


def kl_k2(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """(log r)^2 / 2: biased, but its gradient at the policy that sampled is that of the KL (k2)."""
    return (logps - ref_logps).square() / 2


def kl_k3(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """Unbiased estimate of lower variance that is never negative: r - 1 - log r with r = ref / pi (k3)."""
    log_ratio = ref_logps - logps
    return log_ratio.expm1() - log_ratio


def token_rewards(scores: Tensor, token_kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """The KL charged at every token, and the score [R] at the last token of the response; [R, L]."""
    lengths = mask.sum(-1, keepdim=True)
    is_last = torch.arange(mask.shape[1], device=mask.device) == lengths - 1
    return (-kl_coef * token_kl + is_last * scores[:, None]) * mask


def overlong_penalty(lengths: Tensor, max_length: int, buffer: int) -> Tensor:
    """Grows from 0 to 1 over the last `buffer` tokens that a response may have (DAPO, arXiv 2503.14476, equation 13).

    Args:
        lengths: of responses, tokens, [R].
    """
    return (lengths - (max_length - buffer)).clamp(min=0) / buffer


def truncated_weights(logps: Tensor, sampled_logps: Tensor, cap: float) -> Tensor:
    """Truncated importance sampling (Ionides, J. Comput. Graph. Stat. 17, 2008, section 2): min(p / q, cap), [N].

    Args:
        logps: of the trainer, which is to be moved, p.
        sampled_logps: of the engine that sampled, q.
    """
    return (logps - sampled_logps).exp().clamp(max=cap)


def ppo_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, cliprange: float) -> Tensor:
    """Squared error with the change of the value clipped (arXiv 2005.12729, section 3); as the inputs' shape.

    L = 0.5 max[(V - R)^2, (V_old + clip(V - V_old, -eps, eps) - R)^2]
    """
    near = old_values + (values - old_values).clamp(-cliprange, cliprange)
    return 0.5 * torch.maximum((values - returns).square(), (near - returns).square())


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """Share of the variance of the returns that the values explain, 1 - Var(returns - values) / Var(returns), over
    all processes; 1 is perfect, 0 as good as any constant; NaN where the returns do not vary. All must call it."""
    known, errors = returns.double(), (returns - values).double()
    sums = [known.sum(), known.square().sum(), errors.sum(), errors.square().sum()]
    count = dist.sum_over_ranks(len(returns))
    of_returns, of_errors = (dist.sum_over_ranks(torch.stack(sums)) / count).view(2, 2)
    variance = of_returns[1] - of_returns[0].square()
    if variance <= 1e-12 * of_returns[1]:
        return math.nan
    return float(1 - (of_errors[1] - of_errors[0].square()) / variance)


@dataclass
class RunningMoments:
    """Mean and standard deviation of all scores so far, from sums over all processes, so that they agree."""

    count: float = 0.0
    total: float = 0.0
    total_squares: float = 0.0

    def add(self, values: Tensor) -> None:
        """Takes the values of all processes in, but none that is not finite: it would stay for ever. All must
        call it."""
        is_finite = values.isfinite()
        values = values.double().where(is_finite, 0.0)
        sums = torch.stack([is_finite.sum(), values.sum(), values.square().sum()])
        count, total, total_squares = dist.sum_over_ranks(sums).tolist()
        self.count += count
        self.total += total
        self.total_squares += total_squares

    @property
    def mean(self) -> float:
        return self.total / max(self.count, 1)

    @property
    def std(self) -> float:
        """Standard deviation with Bessel's correction; 1 before there are two scores."""
        if self.count < 2:
            return 1.0
        variance = (self.total_squares - self.count * self.mean**2) / (self.count - 1)
        return max(variance, 0.0) ** 0.5

    def normalize(self, scores: Tensor) -> Tensor:
        return (scores - self.mean) / (self.std + 1e-8)

    def state_dict(self) -> dict[str, float]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.__dict__.update(state)


@dataclass
class KLController:
    """Coefficient of the KL: fixed, or adapted to a target (arXiv 1909.08593, section 2.2).

    coef <- coef (1 + clip(KL / target - 1, -0.2, 0.2) n / horizon)
    """

    coef: float
    target: float = 0.0  # KL of a response in nats; 0: the coefficient is fixed
    horizon: float = 10000.0  # responses

    def update(self, kl: float, num_responses: int) -> None:
        if self.target > 0 and math.isfinite(kl):
            error = min(max(kl / self.target - 1, -0.2), 0.2)
            self.coef *= 1 + error * num_responses / self.horizon

    def state_dict(self) -> dict[str, float]:
        return {"coef": self.coef}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.coef = state["coef"]
