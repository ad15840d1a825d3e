"""The arithmetic of PPO against hand-worked numbers and slow versions straight from the papers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from training.utils.losses.advantages import (
    dull_groups,
    gae,
    group_advantages,
    leave_one_out_advantages,
    returns_to_go,
)
from training.utils.losses.policy import (
    KLController,
    RunningMoments,
    dense,
    flat,
    kl_k1,
    kl_k3,
    ppo_value_loss,
    token_rewards,
)
from training.utils.losses.surrogates import clip_loss

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=4)


def rows_of(lengths, seed, *names):
    """Random values for tokens of responses of these lengths, dense: the mask, then one tensor for each name."""
    rng = np.random.default_rng(seed)
    response = torch.tensor([r for r, length in enumerate(lengths) for _ in range(length)])
    return dense(response, len(lengths), *(torch.tensor(rng.normal(size=sum(lengths))) for _ in names))


@settings(max_examples=40, deadline=None)
@given(LENGTHS, st.integers(0, 10_000))
def test_flat_undoes_dense(lengths, seed):
    values = torch.tensor(np.random.default_rng(seed).normal(size=sum(lengths)))
    response = torch.tensor([r for r, length in enumerate(lengths) for _ in range(length)])
    mask, rows = dense(response, len(lengths), values)
    assert torch.equal(flat(rows, mask), values)
    assert mask.sum(1).tolist() == list(lengths)
    assert (rows * ~mask).abs().sum() == 0


def test_gae_worked_by_hand():
    """Rewards 0, 1; values 0.5, 0.25; gamma 0.5, lambda 0.5.

    delta_1 = 1 - 0.25 = 0.75; delta_0 = 0 + 0.5 * 0.25 - 0.5 = -0.375
    A_1 = 0.75; A_0 = -0.375 + 0.25 * 0.75 = -0.1875; returns A + V = 0.3125, 1.0
    """
    mask = torch.ones(1, 2, dtype=torch.bool)
    advantages, returns = gae(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.25]]), mask, 0.5, 0.5)
    torch.testing.assert_close(advantages, torch.tensor([[-0.1875, 0.75]]))
    torch.testing.assert_close(returns, torch.tensor([[0.3125, 1.0]]))


@settings(max_examples=40, deadline=None)
@given(LENGTHS, st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_gae_equals_the_discounted_sum_of_the_paper(lengths, seed, gamma, lam):
    """Equation 16 of arXiv 1506.02438: A_t = sum_l (gamma lambda)^l delta_{t+l}, for each response alone."""
    mask, rewards, values = rows_of(lengths, seed, "rewards", "values")
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    for row, length in enumerate(lengths):
        r, v = rewards[row, :length].numpy(), np.append(values[row, :length].numpy(), 0)
        delta = r + gamma * v[1:] - v[:-1]
        for t in range(length):
            expected = sum((gamma * lam) ** k * delta[t + k] for k in range(length - t))
            np.testing.assert_allclose(advantages[row, t], expected, atol=1e-9)
            np.testing.assert_allclose(returns[row, t], expected + v[t], atol=1e-9)
    assert (advantages * ~mask).abs().sum() == 0


def plain_gae(rewards, values, gamma, lam):
    """Equation 16 as it is usually programmed: backwards, one position after the other."""
    advantages, advantage, next_value = torch.zeros_like(rewards), 0.0, 0.0
    for t in reversed(range(rewards.shape[1])):
        advantage = rewards[:, t] + gamma * next_value - values[:, t] + gamma * lam * advantage
        advantages[:, t], next_value = advantage, values[:, t]
    return advantages


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 2000])
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.99, 1.0), (1.0, 1.0), (1.0, 0.0)])
def test_gae_of_long_responses_equals_the_plain_loop(length, gamma, lam):
    rewards, values = torch.randn(2, 3, length) / length**0.5
    advantages, _ = gae(rewards, values, torch.ones(3, length, dtype=torch.bool), gamma, lam)
    torch.testing.assert_close(advantages, plain_gae(rewards, values, gamma, lam), atol=1e-5, rtol=1e-5)


def test_with_lambda_one_and_no_discount_the_return_is_the_sum_of_later_rewards():
    mask, rewards, values = rows_of([3, 5], 0, "rewards", "values")
    _, returns = gae(rewards, values, mask, 1.0, 1.0)
    expected = (rewards * mask).flip(1).cumsum(1).flip(1) * mask
    torch.testing.assert_close(returns, expected)


def test_group_estimators_worked_by_hand():
    """Totals 1, 2, 6 to one prompt and 4, 4 to another.

    RLOO: 1 - 4, 2 - 3.5, 6 - 1.5. GRPO: mean 3, variance (4 + 1 + 9) / 2 = 7.
    """
    totals, group = torch.tensor([1.0, 2.0, 6.0, 4.0, 4.0]), torch.tensor([0, 0, 0, 1, 1])
    torch.testing.assert_close(
        leave_one_out_advantages(totals, group, 2), torch.tensor([-3.0, -1.5, 4.5, 0, 0])
    )
    expected = torch.tensor([-2.0, -1.0, 3.0, 0, 0]) / 7**0.5
    torch.testing.assert_close(group_advantages(totals, group, 2), expected, atol=1e-3, rtol=0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 5), min_size=1, max_size=3), st.integers(0, 10_000))
def test_group_estimators_equal_the_papers_formulas(sizes, seed):
    totals = np.random.default_rng(seed).normal(size=sum(sizes))
    group = torch.tensor([number for number, size in enumerate(sizes) for _ in range(size)])
    rloo, grpo, first = [], [], 0
    for size in sizes:
        mine = totals[first : first + size]
        rloo += [mine[i] - np.delete(mine, i).mean() for i in range(size)]
        grpo += list((mine - mine.mean()) / (mine.std(ddof=1) + 1e-4))
        first += size
    values = torch.tensor(totals), group, len(sizes)
    np.testing.assert_allclose(leave_one_out_advantages(*values).numpy(), rloo, atol=1e-9)
    np.testing.assert_allclose(group_advantages(*values).numpy(), grpo, atol=1e-9)


def test_returns_to_go_worked_by_hand():
    """Rewards 1, 0, 4 and discount 0.5: 4; 0 + 2; 1 + 1. Padding stays 0."""
    mask = torch.tensor([[True, True, True, False]])
    rewards = torch.tensor([[1.0, 0.0, 4.0, 9.0]])
    torch.testing.assert_close(returns_to_go(rewards * mask, mask, 0.5), torch.tensor([[2.0, 2.0, 4.0, 0.0]]))


def test_the_score_stands_on_the_last_token_and_the_kl_on_each():
    mask, kl = rows_of([1, 3], 0, "kl")
    rewards = token_rewards(torch.tensor([5.0, 7.0], dtype=torch.float64), kl, mask, kl_coef=0.1)
    expected = -0.1 * kl
    expected[0, 0] += 5
    expected[1, 2] += 7
    torch.testing.assert_close(rewards, expected)


def test_kl_estimators_agree_with_the_exact_kl():
    p, q = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    exact = (p * (p / q).log()).sum()
    for estimator in (kl_k1, kl_k3):
        torch.testing.assert_close((p * estimator(p.log(), q.log())).sum(), exact)


@given(st.floats(-20, 20), st.floats(-20, 20))
def test_k3_is_never_negative(logp, ref_logp):
    assert kl_k3(torch.tensor(logp, dtype=torch.float64), torch.tensor(ref_logp, dtype=torch.float64)) >= 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clips"),
    [
        (1.0, 2.0, -2.0, False),  # nothing has moved
        (1.5, 2.0, -2.4, True),  # gains stop at 1 + 0.2
        (0.5, 2.0, -1.0, False),  # a loss is felt in full
        (0.5, -2.0, 1.6, True),  # gains stop at 1 - 0.2
        (1.5, -2.0, 3.0, False),  # a loss is felt in full
    ],
)
def test_the_clip_worked_by_hand(ratio, advantage, loss, clips):
    losses, clipped = clip_loss(
        torch.tensor([math.log(ratio)]).exp(), torch.tensor([advantage]), low=0.2, high=0.2
    )
    torch.testing.assert_close(losses, torch.tensor([loss]))
    assert clipped.item() is clips


def test_where_the_clip_acts_there_is_no_gradient():
    logps = torch.tensor([math.log(1.5), math.log(0.9)], requires_grad=True)
    clip_loss(logps.exp(), torch.ones(2), 0.2, 0.2)[0].sum().backward()
    torch.testing.assert_close(logps.grad, torch.tensor([0.0, -0.9]))


def test_the_policy_loss_at_the_start_is_the_policy_gradient():
    logps = torch.randn(5, dtype=torch.float64)
    advantages = torch.randn(5, dtype=torch.float64)
    moving = logps.clone().requires_grad_()
    clip_loss((moving - logps).exp(), advantages, 0.2, 0.2)[0].sum().backward()
    torch.testing.assert_close(moving.grad, -advantages)
    away = (logps + 0.05).requires_grad_()
    assert gradcheck(lambda x: clip_loss((x - logps).exp(), advantages, 0.2, 0.2)[0], away)


def test_the_value_clip_worked_by_hand():
    """V_old 0, R 1, clip 0.2. V 0.5: max(0.25, 0.64) / 2 = 0.32. V -0.5: max(2.25, 1.44) / 2 = 1.125."""
    losses = ppo_value_loss(torch.tensor([0.5, -0.5]), torch.zeros(2), torch.ones(2), 0.2)
    torch.testing.assert_close(losses, torch.tensor([0.32, 1.125]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=5), min_size=1, max_size=4))
def test_moments_of_shares_are_the_moments_of_all(shares):
    moments = RunningMoments()
    for share in shares:
        moments.add(torch.tensor(share, dtype=torch.float64))
    values = np.concatenate(shares)
    assert moments.mean == pytest.approx(values.mean(), abs=1e-9)
    if len(values) > 1:
        assert moments.std == pytest.approx(values.std(ddof=1), abs=1e-5)
    else:
        assert moments.std == 1.0
    restored = RunningMoments()
    restored.load_state_dict(moments.state_dict())
    assert restored == moments


def test_the_kl_coefficient_follows_its_target_and_is_fixed_without_one():
    controller = KLController(0.1, target=2.0, horizon=100)
    controller.update(kl=2.2, num_responses=10)  # 0.1 (1 + 0.1 * 10 / 100)
    assert controller.coef == pytest.approx(0.101)
    controller.update(kl=100.0, num_responses=10)  # the error is clipped to 0.2
    assert controller.coef == pytest.approx(0.101 * 1.02)
    fixed = KLController(0.1)
    fixed.update(kl=100.0, num_responses=10)
    assert fixed.coef == 0.1


def test_a_group_is_dull_if_all_its_scores_are_one():
    scores = torch.tensor([1.0, 1.0, 0.5, 0.0, -2.0, 0.5, -2.0])
    group = torch.tensor([0, 0, 1, 2, 3, 2, 3])
    assert dull_groups(scores, group, 4).tolist() == [True, True, False, True]
