"""The generalised Jensen-Shannon divergence (arXiv 2306.13649, equation 1), by hand and from the definition."""

import math

import pytest
import torch
from torch.nn.functional import kl_div

from training.utils.losses.divergence import generalised_jsd


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_two_coins(beta):
    """Teacher 1/2, 1/2; student 1/4, 3/4."""
    p, q = (0.5, 0.5), (0.25, 0.75)
    if beta in (0.0, 1.0):
        expected = kl(p, q) if beta == 0 else kl(q, p)
    else:
        m = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
        expected = beta * kl(p, m) + (1 - beta) * kl(q, m)
    found = generalised_jsd(torch.tensor([q]).log() + 3, torch.tensor([p]).log() - 1, beta)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_a_half_is_symmetric_and_at_most_the_logarithm_of_two():
    one, other = torch.randn(2, 5, 9)
    torch.testing.assert_close(generalised_jsd(one, other, 0.5), generalised_jsd(other, one, 0.5))
    apart = torch.tensor([[100.0, 0.0]])
    assert generalised_jsd(apart, apart.flip(1), 0.5).item() == pytest.approx(math.log(2), abs=1e-5)


def test_the_gradient_of_beta_0_is_that_of_cross_entropy_against_the_teacher():
    student, teacher = torch.randn(4, 7, requires_grad=True), torch.randn(4, 7)
    generalised_jsd(student, teacher, 0.0).sum().backward()
    expected = student.softmax(-1) - teacher.softmax(-1)
    torch.testing.assert_close(student.grad, expected, atol=1e-6, rtol=0)
    by_torch = kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="none").sum(-1)
    torch.testing.assert_close(generalised_jsd(student, teacher, 0.0), by_torch)
