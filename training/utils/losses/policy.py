"""The arithmetic of policy optimisation, as pure functions, and two small running states.

Notation: N response tokens as a flat list, R responses, L tokens of the longest. Log-probabilities and KL in
nats. A mask [R, L] is True on response tokens.
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

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


def kl_k3(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """Unbiased estimate of lower variance that is never negative: r - 1 - log r with r = ref / pi (k3)."""
    log_ratio = ref_logps - logps
    return log_ratio.expm1() - log_ratio


def token_rewards(scores: Tensor, token_kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """The KL charged at every token, and the score [R] at the last token of the response; [R, L]."""
    lengths = mask.sum(-1, keepdim=True)
    is_last = torch.arange(mask.shape[1], device=mask.device) == lengths - 1
    return (-kl_coef * token_kl + is_last * scores[:, None]) * mask


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
    sums, sizes = _group_sums(totals, group, num_groups), _group_sizes(totals, group, num_groups)
    return totals - (sums[group] - totals) / (sizes[group] - 1)


def group_advantages(totals: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """GRPO (arXiv 2402.03300, section 4.1.2): A_i = (R_i - mean(R)) / std(R) over the responses to a prompt, [R].

    The standard deviation is the sample's; where all rewards are equal the advantages are 0.
    """
    sizes = _group_sizes(totals, group, num_groups)
    deviations = totals - (_group_sums(totals, group, num_groups) / sizes)[group]
    variances = _group_sums(deviations.square(), group, num_groups) / (sizes - 1)
    return deviations / (variances.sqrt()[group] + 1e-4)


def dull_groups(scores: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """Whether all scores [R] of a group are equal, so that comparing them teaches nothing, bool, [num_groups]."""
    lowest, highest = (
        scores.new_zeros(num_groups).scatter_reduce(0, group, scores, how, include_self=False)
        for how in ("amin", "amax")
    )
    return lowest == highest


def _group_sums(values: Tensor, group: Tensor, num_groups: int) -> Tensor:
    return values.new_zeros(num_groups).index_add(0, group, values)


def _group_sizes(values: Tensor, group: Tensor, num_groups: int) -> Tensor:
    return _group_sums(torch.ones_like(values), group, num_groups)


def ppo_policy_loss(
    logps: Tensor, old_logps: Tensor, advantages: Tensor, cliprange: float
) -> tuple[Tensor, Tensor]:
    """Clipped surrogate (arXiv 1707.06347, equation 7), and where the clip acted; both as the inputs' shape.

    L = -min(rho A, clip(rho, 1 - eps, 1 + eps) A) with rho = exp(log pi - log pi_old)
    """
    ratio = (logps - old_logps).exp()
    free = -ratio * advantages
    clipped = -ratio.clamp(1 - cliprange, 1 + cliprange) * advantages
    return torch.maximum(free, clipped), clipped > free


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
