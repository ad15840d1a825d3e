"""Losses against numbers worked by hand, slow versions straight from the papers, and their limits."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from training.utils.losses import ordered_pairs, pair_accuracy, plackett_luce_loss, segment_sum

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=4)  # responses of each prompt


def prompts_of(sizes):
    return torch.tensor([number for number, size in enumerate(sizes) for _ in range(size)])


def test_two_candidates_are_bradley_terry_worked_by_hand():
    """Scores 2 and 0: -log sigmoid(2) = log(1 + e^-2) = 0.126928."""
    loss = plackett_luce_loss(torch.tensor([2.0, 0.0]), torch.tensor([0, 0]), 1)
    torch.testing.assert_close(loss, torch.tensor([0.126928]), atol=1e-6, rtol=0)


def test_three_equal_scores_cost_log_six():
    """All 3! orders are equally likely."""
    loss = plackett_luce_loss(torch.zeros(3), torch.zeros(3, dtype=torch.long), 1)
    torch.testing.assert_close(loss, torch.tensor([math.log(6)]))


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 10_000))
def test_plackett_luce_equals_the_product_of_choices(sizes, seed):
    scores = np.random.default_rng(seed).normal(size=sum(sizes))
    expected, first = [], 0
    for size in sizes:
        likelihood = 1.0
        for place in range(size):
            rest = np.exp(scores[first + place : first + size])
            likelihood *= rest[0] / rest.sum()
        expected.append(-np.log(likelihood))
        first += size
    loss = plackett_luce_loss(torch.tensor(scores), prompts_of(sizes), len(sizes))
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_extreme_scores_stay_finite():
    scores = torch.tensor([-1e4, 1e4, 0.0], requires_grad=True)
    loss = plackett_luce_loss(scores, torch.zeros(3, dtype=torch.long), 1).sum()
    loss.backward()
    torch.testing.assert_close(loss, torch.tensor(3e4 - 0.0) - 1e4)  # (1e4 + 1e4) + (1e4 - 1e4) + 0
    assert torch.isfinite(scores.grad).all()


def test_plackett_luce_has_the_right_gradient():
    scores = torch.randn(5, dtype=torch.float64, requires_grad=True)
    prompts = torch.tensor([0, 0, 0, 1, 1])
    assert gradcheck(lambda s: plackett_luce_loss(s, prompts, 2), scores)


@settings(max_examples=40, deadline=None)
@given(SIZES)
def test_every_ordered_pair_of_a_prompt_is_there_once(sizes):
    prompts = prompts_of(sizes)
    better, worse = ordered_pairs(prompts)
    pairs = set(zip(better.tolist(), worse.tolist(), strict=True))
    n = len(prompts)
    assert pairs == {(i, j) for i in range(n) for j in range(i + 1, n) if prompts[i] == prompts[j]}
    assert len(better) == len(pairs)


def test_accuracy_counts_a_tie_as_half():
    """Pairs of the first prompt: 3 > 1 right, 3 > 2 right, 1 > 2 wrong; of the second: a tie."""
    right, num = pair_accuracy(torch.tensor([3.0, 1.0, 2.0, 5.0, 5.0]), torch.tensor([0, 0, 0, 1, 1]))
    assert (float(right), num) == (2.5, 4)


def test_a_constant_reward_model_is_half_right():
    right, num = pair_accuracy(torch.zeros(6), torch.tensor([0, 0, 0, 1, 1, 1]))
    assert float(right) / num == 0.5


def test_sums_leave_out_what_belongs_to_no_segment():
    sums = segment_sum(torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([-1, 1, 1, 0]), 3)
    assert sums.tolist() == [8.0, 6.0, 0.0]
