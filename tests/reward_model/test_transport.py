"""The arithmetic of RoVRM's selection, against POT and against what the theory says."""

import numpy as np
import ot
import pytest
import torch

from training.reward_model import transport
from training.reward_model.transport import pairwise_costs, project, set_costs


def test_transport_on_the_line_by_hand():
    # {0, 1} to {2, 3}: every coupling moves each point by 2. {0, 1} to {1, 0}: the same points.
    candidates = torch.tensor([[0.0, 1.0]])
    assert pairwise_costs(candidates, torch.tensor([[3.0, 2.0]])).tolist() == [2.0]
    assert pairwise_costs(candidates, torch.tensor([[3.0, 2.0], [1.0, 0.0]])).tolist() == [1.0]


def test_pairwise_costs_are_means_of_exact_transport_between_samples():
    candidates, targets = torch.randn(5, 12), torch.randn(4, 12)

    def exact(a: torch.Tensor, b: torch.Tensor) -> float:
        distances = ot.dist(a.double().numpy()[:, None], b.double().numpy()[:, None], metric="euclidean")
        return ot.emd2([], [], distances)

    expected = [np.mean([exact(a, b) for b in targets]) for a in candidates]
    torch.testing.assert_close(pairwise_costs(candidates, targets), torch.tensor(expected).float())


def test_pairwise_costs_see_the_length_of_a_projected_gradient_and_not_its_direction():
    gradients = torch.nn.functional.normalize(torch.randn(3, 2000))
    lengths = torch.tensor([[1.0], [1.0], [2.0]])
    a, opposite, double = project(lengths * torch.stack([gradients[0], -gradients[0], gradients[2]]), 4096, 0)
    costs = pairwise_costs(torch.stack([opposite, double]), a[None])
    # W1 of two normals of deviations 1 / 64 and 2 / 64 is sqrt(2 / pi) / 64; of the same one 0, but for the sampling.
    assert costs[1] == pytest.approx(0.7979 / 64, rel=0.05)
    assert costs[0] < costs[1] / 10


@pytest.mark.parametrize("num_targets", [7, 12])
def test_potentials_of_a_set_add_up_to_its_transport_cost(num_targets):
    candidates, targets = torch.randn(9, 5), torch.randn(num_targets, 5) + 1
    cost = ot.emd2([], [], ot.dist(candidates.numpy(), targets.numpy(), metric="euclidean"))
    # Both sides' means are made equal, so each is half of the cost; and they have to be feasible: f_i + g_j <= C_ij.
    assert 2 * set_costs(candidates, targets).mean() == pytest.approx(cost, rel=1e-5)


def test_a_potential_is_how_the_cost_changes_with_the_weight_of_a_candidate():
    candidates, targets = torch.randn(6, 3), torch.randn(11, 3) + 0.5
    costs = set_costs(candidates, targets)
    distances = ot.dist(candidates.numpy(), targets.numpy(), metric="euclidean")
    weights = np.full(6, 1 / 6)
    step = 1e-4 * (np.eye(6)[0] - np.eye(6)[3])  # weight moves from the fourth candidate to the first
    change = ot.emd2(weights + step, [], distances) - ot.emd2(weights - step, [], distances)
    assert change / 2e-4 == pytest.approx(float(costs[0] - costs[3]), rel=1e-3)


def test_sinkhorn_comes_near_the_exact_potentials():
    candidates, targets = torch.randn(30, 4), torch.randn(20, 4) + torch.tensor([2.0, 0, 0, 0])
    exact, near = set_costs(candidates, targets), set_costs(candidates, targets, regularisation=0.01)
    assert torch.corrcoef(torch.stack([exact, near]))[0, 1] > 0.99
    # The entropy of a coupling of 30 with 20 is 0 to log 600; it is taken off, half from each side.
    most = 0.01 * torch.cdist(candidates, targets).mean() * np.log(600) / 2
    assert exact.mean() - most <= near.mean() <= exact.mean()


@pytest.mark.parametrize("costs", [pairwise_costs, set_costs, lambda a, b: set_costs(a, b, 0.05)])
def test_candidates_of_the_targets_own_distribution_cost_less(costs):
    targets = torch.randn(40, 16) + 2
    candidates = torch.cat([torch.randn(20, 16) + 2, torch.randn(20, 16) - 2])
    own, others = costs(candidates, targets).chunk(2)
    assert own.max() < others.min()


def test_a_projection_keeps_inner_products():
    gradients = torch.nn.functional.normalize(torch.randn(20, 3000))
    gradients[1:10] = torch.nn.functional.normalize(gradients[1:10] + gradients[0])  # some are alike
    projected = project(gradients, 2048, seed=3)
    error = projected @ projected.T - gradients @ gradients.T
    # The deviation of an entry is at most sqrt(2 / 2048) = 0.031.
    assert error.abs().max() < 5 * 0.031
    assert error.square().mean().sqrt() < 0.031


def test_a_projection_depends_on_the_seed_and_not_on_the_other_gradients():
    gradients = torch.randn(3, 500)
    once = project(gradients, 64, seed=1)
    torch.testing.assert_close(project(gradients[1:2], 64, seed=1), once[1:2])
    assert not torch.allclose(project(gradients, 64, seed=2), once)


def test_blocks_of_a_projection_are_drawn_independently(monkeypatch):
    monkeypatch.setattr(transport, "SIGNS_AT_A_TIME", 64 * 10)  # blocks of 10 parameters
    unit = torch.eye(40)
    rows = project(unit, 64, seed=0) * 8  # the matrix itself
    assert set(rows.flatten().tolist()) == {-1.0, 1.0}
    assert len({tuple(line) for line in rows.tolist()}) == 40
