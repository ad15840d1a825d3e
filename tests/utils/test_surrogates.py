"""What moves a policy, against numbers by hand and plain loops as the papers have them."""

import math

import pytest
import torch

from training.utils.losses.advantages import group_mean_advantages, step_advantages
from training.utils.losses.policy import kl_k2, kl_k3, overlong_penalty
from training.utils.losses.surrogates import (
    cispo_loss,
    clip_loss,
    kl_loss,
    log_ratios,
    sapo_loss,
    token_weights,
    weighed_count,
)

# Two responses, of 1 and 3 tokens.
RESPONSE = torch.tensor([0, 1, 1, 1])
LENGTHS = torch.tensor([1, 3])
NEW = torch.tensor([0.1, 0.3, -0.6, 0.9])
RATIOS = {
    "token": [math.exp(0.1), math.exp(0.3), math.exp(-0.6), math.exp(0.9)],
    "sequence": [math.exp(0.1)] + 3 * [math.exp(0.2)],  # (0.3 - 0.6 + 0.9) / 3
    "product": [math.exp(0.1)] + 3 * [math.exp(0.6)],
}


@pytest.mark.parametrize("level", RATIOS)
def test_a_ratio_is_of_a_token_or_of_its_response(level):
    logs = log_ratios(NEW - 2, torch.full((4,), -2.0), RESPONSE, 2, level)
    torch.testing.assert_close(logs.exp(), torch.tensor(RATIOS[level]))


def test_the_gradient_of_a_sequences_ratio_is_shared_by_its_tokens():
    """GSPO, equation 10: the gradient of s A is s A times the mean of those of log pi."""
    logps = NEW.clone().requires_grad_()
    ratio = log_ratios(logps, torch.zeros(4), RESPONSE, 2, "sequence").exp()
    losses, _ = clip_loss(ratio, torch.tensor([2.0, 1.0, 1.0, 1.0]), 0.5, 0.5)
    (losses * token_weights(LENGTHS, RESPONSE, "response", 9)).sum().backward()
    expected = [-2 * math.exp(0.1)] + 3 * [-math.exp(0.2) / 3]
    torch.testing.assert_close(logps.grad, torch.tensor(expected))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clips"),
    [(1.25, 1.0, -1.25, False), (1.4, 1.0, -1.28, True), (0.7, -1.0, 0.8, True), (0.7, 1.0, -0.7, False)],
)
def test_a_clip_that_is_higher_than_low(ratio, advantage, loss, clips):
    """DAPO's 0.2 from below and 0.28 from above."""
    losses, clipped = clip_loss(torch.tensor([ratio]), torch.tensor([advantage]), 0.2, 0.28)
    torch.testing.assert_close(losses, torch.tensor([loss]))
    assert clipped.item() is clips


def test_cispo_clips_a_weight_and_every_token_keeps_its_gradient():
    """Weights 0.01, 2, and 9 clipped to 5; the gradient of log pi is -weight A."""
    logps = torch.tensor([-1.0, -2.0, -3.0], requires_grad=True)
    old = logps.detach() - torch.tensor([0.01, 2.0, 9.0]).log()
    advantages = torch.tensor([1.0, -0.5, 2.0])
    losses, clipped = cispo_loss((logps - old).exp(), logps, advantages, low=1.0, high=4.0)
    torch.testing.assert_close(losses, torch.tensor([0.01, -2.0, 30.0]))
    losses.sum().backward()
    torch.testing.assert_close(logps.grad, torch.tensor([-0.01, 1.0, -10.0]))
    assert clipped.tolist() == [False, False, True]


def test_sapo_is_the_policy_gradient_where_nothing_has_moved_and_fades_away_from_there():
    """Slope of 4 / tau sigmoid(tau (rho - 1)) is 4 p (1 - p): 1 at rho = 1, and less beyond."""
    ratio = torch.tensor([1.0, 1.0, 3.0, 3.0], requires_grad=True)
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])
    losses, clipped = sapo_loss(ratio, advantages, tau_pos=1.0, tau_neg=2.0)
    p, q = (1 / (1 + math.exp(-x)) for x in (2.0, 4.0))  # tau (rho - 1) of 1 x 2 and 2 x 2
    torch.testing.assert_close(losses, torch.tensor([-2.0, 1.0, -4 * p, 2 * q]))
    losses.sum().backward()
    torch.testing.assert_close(ratio.grad, torch.tensor([-1.0, 1.0, -4 * p * (1 - p), 4 * q * (1 - q)]))
    assert not clipped.any()


@pytest.mark.parametrize(
    ("aggregation", "mean"),
    [("token", (4 + 1 + 2 + 6) / 4), ("response", (4 + 3) / 2), ("max_length", (4 + 9) / 10 / 2)],
)
def test_tokens_are_averaged_as_the_papers_do(aggregation, mean):
    losses = torch.tensor([4.0, 1.0, 2.0, 6.0])
    weighed = losses * token_weights(LENGTHS, RESPONSE, aggregation, max_length=10)
    assert weighed.sum().item() / weighed_count(4, 2, aggregation) == pytest.approx(mean)


def test_gradients_of_the_kl_in_the_loss():
    """Over all of a vocabulary, a policy that moved from where it sampled: the gradient of KL(pi | ref) is that of
    `k3_ratio` weighed by pi_old; where it has not moved, of `k2` weighed by pi; k3 has another."""
    torch.manual_seed(1)
    old_logits, ref_logits = torch.randn(2, 5, dtype=torch.float64)
    ref = ref_logits.log_softmax(0)

    def gradient(of, at):
        logits = at.clone().requires_grad_()
        of(logits.log_softmax(0)).backward()
        return logits.grad

    def exact(logps):
        return (logps.exp() * (logps - ref)).sum()

    moved = old_logits + 0.3 * torch.randn(5, dtype=torch.float64)
    old = old_logits.log_softmax(0)
    with_ratio = gradient(
        lambda logps: (old.exp() * kl_loss(logps, ref, (logps - old).exp(), "k3_ratio")).sum(), moved
    )
    torch.testing.assert_close(with_ratio, gradient(exact, moved))
    ones = torch.ones(5)
    at_start = gradient(lambda logps: (old.exp() * kl_loss(logps, ref, ones, "k2")).sum(), old_logits)
    torch.testing.assert_close(at_start, gradient(exact, old_logits))
    other = gradient(lambda logps: (old.exp() * kl_loss(logps, ref, ones, "k3")).sum(), old_logits)
    assert not torch.allclose(other, at_start, atol=1e-3)


def test_kl_values_by_hand():
    """log pi - log ref = 1: k2 1 / 2, k3 e^-1 - 1 + 1."""
    one, none = torch.ones(1), torch.zeros(1)
    assert kl_k2(one, none).item() == 0.5
    assert kl_k3(one, none).item() == pytest.approx(math.exp(-1))
    assert kl_loss(one, none, 2 * one, "k3_ratio").item() == pytest.approx(2 * math.exp(-1))


def test_overlong_responses_are_penalised_as_dapo_has_it():
    """Of 100 tokens the last 20: at 80 none, at 90 a half (the example of TRL's page), at 100 all."""
    lengths = torch.tensor([1, 80, 90, 95, 100])
    assert overlong_penalty(lengths, 100, 20).tolist() == pytest.approx([0, 0, 0.5, 0.75, 1])


def test_group_mean_and_step_worked_by_hand():
    """Totals 1, 2, 6 to one prompt and 4, 4 to another. Their mean is 3.4, their sum of squares 15.2."""
    totals = torch.tensor([1.0, 2.0, 6.0, 4.0, 4.0])
    of_groups = group_mean_advantages(totals, torch.tensor([0, 0, 0, 1, 1]), 2)
    assert of_groups.tolist() == [-2.0, -1.0, 3.0, 0.0, 0.0]
    expected = torch.tensor([-2.4, -1.4, 2.6, 0.6, 0.6]) / (15.2 / 4) ** 0.5
    torch.testing.assert_close(step_advantages(totals), expected, atol=1e-3, rtol=0)
