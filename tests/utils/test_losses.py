"""Losses against numbers worked by hand, slow versions straight from the papers, and their limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from training.reward_model.train_rm import given_margins
from training.utils.losses.responses import (
    centering_loss,
    ordered_pairs,
    pair_accuracy,
    pair_margin,
    plackett_luce_loss,
    ranks,
    regression_loss,
    segment_sum,
)

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


ONE_PROMPT = torch.tensor([0, 0, 0])


def test_scores_rank_and_where_there_are_none_the_order_does():
    """First prompt: scores 3, 5, 3, so ranks 1, 0, 1. Second prompt: no scores."""
    nan = math.nan
    rank = ranks(torch.tensor([0, 0, 0, 1, 1]), torch.tensor([3.0, 5.0, 3.0, nan, nan]))
    assert rank.tolist() == [1, 0, 1, 0, 1]
    assert ranks(ONE_PROMPT).tolist() == [0, 1, 2]


def test_tied_responses_stand_in_each_others_sums():
    """Scores 1 and 0 tie above -1: the sum over all three for both of them, and the last one alone."""
    loss = plackett_luce_loss(torch.tensor([1.0, 0.0, -1.0]), ONE_PROMPT, 1, rank=torch.tensor([0, 0, 2]))
    whole = math.log(math.e + 1 + 1 / math.e)
    assert loss.item() == pytest.approx((whole - 1) + (whole - 0) + 0, abs=1e-6)


def test_two_that_tie_are_best_at_equal_scores():
    scores = torch.tensor([2.0, 2.0], requires_grad=True)
    plackett_luce_loss(scores, torch.tensor([0, 0]), 1, rank=torch.tensor([0, 0])).sum().backward()
    assert scores.grad.abs().max() < 1e-6
    right, num = pair_accuracy(torch.tensor([2.0, 1.0]), torch.tensor([0, 0]), torch.tensor([0, 0]))
    assert (float(right), num) == (0.0, 0)  # nothing to order


def test_a_margin_is_taken_off_the_difference():
    """-log sigmoid(2 - 0 - 0.5) = log(1 + e^-1.5) = 0.2014133 (arXiv 2307.09288, equation 2)."""
    margins = torch.tensor([[0.0, 0.5], [0.0, 0.0]])
    loss = plackett_luce_loss(torch.tensor([2.0, 0.0]), torch.tensor([0, 0]), 1, margins=margins)
    assert loss.item() == pytest.approx(0.2014133, abs=1e-6)


def test_margins_come_from_scores_or_are_one():
    """Scores 5 and 3 are 2 apart; without scores a better response is 1 ahead; a tie and a worse one 0."""
    scores, rank = torch.tensor([5.0, 3.0, math.nan, math.nan]), torch.tensor([0, 1, 0, 1])
    margins = given_margins(scores, rank)
    assert margins[0, 1] == 2 and margins[2, 3] == 1
    assert margins.diagonal().abs().sum() == 0 and margins[1, 0] == 0 and margins[3, 2] == 0


def test_centering_and_regression_worked_by_hand():
    """(2 + 1)^2 and 4^2; ((2 - 1)^2 + (1 - 3)^2) / 2 and (4 - 4.5)^2."""
    scores, prompts = torch.tensor([2.0, 1.0, 4.0]), torch.tensor([0, 0, 1])
    assert centering_loss(scores, prompts, 2).tolist() == [9.0, 16.0]
    assert regression_loss(scores, torch.tensor([1.0, 3.0, 4.5]), prompts, 2).tolist() == [2.5, 0.25]


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


def test_margin_is_how_far_the_better_of_each_pair_is_ahead():
    scores = torch.tensor([2.0, 0.5, 1.0, 4.0, -1.0])  # pairs: 2 - 0.5, 2 - 1, 0.5 - 1, 4 + 1
    total, count = pair_margin(scores, torch.tensor([0, 0, 0, 1, 1]))
    assert (float(total), count) == (7.0, 4)
