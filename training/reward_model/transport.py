"""What preference data cost to move onto other preference data: the arithmetic of RoVRM's selection.

RoVRM (arXiv 2408.12109) keeps the candidates with the lowest c_i = 1/M sum_j OT(g_i, g_j), where g is a randomly
projected gradient of the reward loss, OT(a, b) = min over couplings of the integral of C(z, z'), and C the L2 norm.
It leaves open what distribution a single gradient vector is. Two readings:

- `pairwise_costs`: the K numbers of a projected gradient are K equally heavy points on the line. Then OT is the
  Wasserstein-1 distance of two samples, the mean difference of their sorted values. It follows the paper's formula to
  the letter, but sorting forgets which coordinate a value came from. The coordinates of a random projection of g are
  about normal with deviation |g| / sqrt(K), whatever g's direction, so the cost is about
  sqrt(2 / (pi K)) mean_j | |g_i| - |g_j| |: it selects by the gradient's norm alone.
- `set_costs`: each gradient is one point of K dimensions, and the set of candidates is moved onto the set of targets
  with C between points. A candidate's cost is its dual potential: how the cost of the whole changes with that
  candidate's weight (LAVA, arXiv 2305.00054). It sees directions too.

Notation: N candidates, M targets, P parameters, K projected dimensions.
"""

import ot
import torch
from torch import Tensor

SIGNS_AT_A_TIME = 2**24  # of the projection matrix, 64 MiB in fp32; a part of what the seed means


def project(gradients: Tensor, projection_dim: int, seed: int) -> Tensor:
    """Gradients through a random matrix of signs over sqrt(K): [n, P] -> [n, K], inner products kept on average.

    <Rx, Ry> has mean <x, y> and variance at most 2 |x|^2 |y|^2 / K (Johnson and Lindenstrauss; with signs Achlioptas
    2003). The matrix is never whole in memory: blocks of its rows are drawn from the seed, used and forgotten.
    """
    projected = gradients.new_zeros(len(gradients), projection_dim)
    generator = torch.Generator(gradients.device).manual_seed(seed)
    for block in gradients.split(max(1, SIGNS_AT_A_TIME // projection_dim), dim=1):
        shape = (block.shape[1], projection_dim)
        bits = torch.randint(0, 2, shape, generator=generator, device=block.device, dtype=torch.int8)
        projected += block @ (2 * bits.to(block.dtype) - 1)
    return projected / projection_dim**0.5


def pairwise_costs(candidates: Tensor, targets: Tensor) -> Tensor:
    """Mean over the targets of the transport cost between two gradients as samples of numbers, [N].

    On the line the sorted values are matched in order: OT(a, b) = 1/K sum_k |a_(k) - b_(k)|.

    Args:
        candidates, targets: [N, K], [M, K].
    """
    ordered, others = candidates.sort(dim=1).values, targets.sort(dim=1).values
    # A block of candidates at a time: [n, M] distances of which only the mean is kept.
    means = [torch.cdist(block, others, p=1).mean(dim=1) for block in ordered.split(1024)]
    return torch.cat(means) / candidates.shape[1]


def set_costs(candidates: Tensor, targets: Tensor, regularisation: float = 0.0) -> Tensor:
    """Dual potential of each candidate in moving the candidates onto the targets, all equally heavy, [N].

    With f and g the potentials, mean f + mean g is the cost of the whole; they are fixed up to a constant that moves
    from one to the other, and mean f = mean g here. Where some of the candidates can be moved onto just some of the
    targets, as with N = M, the exact solution leaves more freedom than that; Sinkhorn's does not.

    Args:
        candidates, targets: [N, K], [M, K].
        regularisation: of Sinkhorn, as a share of the mean distance, for sets too large for the exact solution,
            whose time grows about as N M (N + M); 0: exact.
    """
    distances = torch.cdist(candidates, targets).double().cpu().numpy()  # [N, M]
    if regularisation:
        strength = regularisation * distances.mean()
        _, log = ot.sinkhorn(
            [], [], distances, strength, method="sinkhorn_log", numItermax=10_000, stopThr=1e-6, log=True
        )
        potentials, others = (strength * torch.as_tensor(log[name]) for name in ("log_u", "log_v"))
    else:
        _, log = ot.emd([], [], distances, numItermax=10_000_000, log=True)
        potentials, others = torch.as_tensor(log["u"]), torch.as_tensor(log["v"])
    return (potentials + (others.mean() - potentials.mean()) / 2).float()
