"""Preference losses against numbers worked by hand, the papers' formulas in NumPy, and their limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from training.dpo.loss_types import LOSS_TYPES, WeightedLosses
from training.dpo.ranked import Ranked
from training.utils.config.stage_config import DPOConfig
from training.utils.data.record import DataError
from training.utils.losses.preferences import (
    anchored_loss,
    bco_loss,
    biased_ranking_loss,
    dpo_loss,
    hinge_loss,
    ipo_loss,
    kto_loss,
    odds_ratio_loss,
    robust_dpo_loss,
    simpo_loss,
)
from training.utils.losses.responses import plackett_luce_loss


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# A loss at one point, worked by hand.
BY_HAND = {
    "DPO, z = 1.5: log(1 + e^-1.5)": (lambda: dpo_loss(tensor(1.5)), 0.2014133),
    "cDPO, eps 0.1: 0.9 * 0.2014133 + 0.1 * 1.7014133": (lambda: dpo_loss(tensor(1.5), 0.1), 0.3514133),
    "robust, eps 0.1: (0.9 * 0.2014133 - 0.1 * 1.7014133) / 0.8": (
        lambda: robust_dpo_loss(tensor(1.5), 0.1),
        0.0139133,
    ),
    "hinge, z = 0.25": (lambda: hinge_loss(tensor(0.25)), 0.75),
    "hinge, beyond the margin": (lambda: hinge_loss(tensor(1.5)), 0.0),
    "IPO, beta 0.5, h = 3: (3 - 1)^2": (lambda: ipo_loss(tensor(3.0), 0.5), 4.0),
    "SimPO, beta 2, gamma 0.5, margin 1: log(1 + e^-1.5)": (
        lambda: simpo_loss(tensor(1.0), 2.0, 0.5),
        0.2014133,
    ),
    # p = 3/4 and 1/2: odds 3 and 1, log sigmoid(log 3) = log 3/4
    "ORPO": (lambda: odds_ratio_loss(tensor(math.log(0.75)), tensor(math.log(0.5))), -math.log(0.75)),
    # r = 1, z0 = 0.5: 1 - sigmoid(0.5), and its mirror image
    "KTO, desirable": (lambda: kto_loss(tensor(1.0), torch.tensor([True]), tensor(0.5)), 0.3775407),
    "KTO, undesirable": (lambda: kto_loss(tensor(1.0), torch.tensor([False]), tensor(0.5)), 0.6224593),
    "BCO, desirable, delta -0.5: log(1 + e^-1.5)": (
        lambda: bco_loss(tensor(1.0), torch.tensor([True]), -0.5),
        0.2014133,
    ),
    "BCO, undesirable: 1.5 + log(1 + e^-1.5)": (
        lambda: bco_loss(tensor(1.0), torch.tensor([False]), -0.5),
        1.7014133,
    ),
    "anchored, r = 1.5": (lambda: anchored_loss(tensor(1.5)), 0.2014133),
    # e^0 / (0.01 + 2) * e^0 / (0.01 + 1)
    "biased ranking, two equal": (
        lambda: biased_ranking_loss(tensor(0.0, 0.0), torch.tensor([0, 0]), 1),
        math.log(2.01 * 1.01),
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_loss_worked_by_hand(case):
    loss, expected = BY_HAND[case]
    assert loss().tolist() == pytest.approx([expected], abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 2), st.floats(0, 0.49))
def test_losses_equal_the_papers_formulas(seed, beta, smoothing):
    rng = np.random.default_rng(seed)
    pc, pr, rc, rr = rng.normal(scale=5, size=(4, 3))
    z = beta * ((pc - rc) - (pr - rr))
    cdpo = -(1 - smoothing) * np.log(sigmoid(z)) - smoothing * np.log(sigmoid(-z))
    np.testing.assert_allclose(dpo_loss(tensor(*z), smoothing).numpy(), cdpo, rtol=1e-7, atol=1e-10)
    flipped = dpo_loss(tensor(*-z)).numpy()
    robust = ((1 - smoothing) * dpo_loss(tensor(*z)).numpy() - smoothing * flipped) / (1 - 2 * smoothing)
    np.testing.assert_allclose(robust_dpo_loss(tensor(*z), smoothing).numpy(), robust, rtol=1e-7, atol=1e-9)
    p, q = rng.uniform(0.01, 0.99, size=(2, 3))
    odds = -np.log(sigmoid(np.log(p / (1 - p)) - np.log(q / (1 - q))))
    np.testing.assert_allclose(
        odds_ratio_loss(tensor(*np.log(p)), tensor(*np.log(q))).numpy(), odds, rtol=1e-7
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 5), min_size=1, max_size=3), st.integers(0, 10_000), st.floats(0, 0.5))
def test_biased_ranking_equals_the_product_of_the_original(sizes, seed, smoothing):
    rewards = np.random.default_rng(seed).normal(size=sum(sizes))
    expected, first = [], 0
    for size in sizes:
        mine = rewards[first : first + size]
        q = np.prod([np.exp(mine[i]) / (0.01 + np.exp(mine[i:]).sum()) for i in range(size)])
        expected.append(-(1 - smoothing) * np.log(q) - smoothing * np.log(1 - q))
        first += size
    prompts = torch.tensor([number for number, size in enumerate(sizes) for _ in range(size)])
    loss = biased_ranking_loss(tensor(*rewards), prompts, len(sizes), smoothing)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-7)


def test_without_its_bias_the_original_s_ranking_is_plackett_luce():
    """With rewards of 30 the 0.01 does not count; with rewards of -30 it decides."""
    prompts = torch.tensor([0, 0, 0])
    for shift, is_close in ((30, True), (-30, False)):
        rewards = tensor(1.0, 0.5, -0.3) + shift
        ranking = biased_ranking_loss(rewards, prompts, 1), plackett_luce_loss(rewards, prompts, 1)
        assert torch.allclose(*ranking, atol=1e-9) == is_close


@pytest.mark.parametrize("far", [1e4, -1e4])
def test_extreme_values_stay_finite_with_finite_gradients(far):
    x = tensor(far, 0.0).requires_grad_()
    mean = tensor(-1e-12, -1e4).requires_grad_()
    prompts = torch.tensor([0, 0])
    losses = [dpo_loss(x, 0.1), robust_dpo_loss(x, 0.1), hinge_loss(x), simpo_loss(x, 2.0, 0.5)]
    losses += [biased_ranking_loss(x, prompts, 1, 0.1), odds_ratio_loss(mean, mean.flip(0))]
    torch.cat(losses).sum().backward()
    assert all(torch.isfinite(loss).all() for loss in losses)
    assert torch.isfinite(x.grad).all() and torch.isfinite(mean.grad).all()


def config(*loss_type, **more):
    return DPOConfig(
        from_checkpoint="x", data_path="x", output_dir="x", loss_type=list(loss_type), beta=0.3, **more
    )


PROMPTS = torch.tensor([0, 0, 0, 1, 1])  # what their responses say about them is listed best first


def ranked(seed=0, logps=None):
    """Five responses to two prompts; the first prompt has another image to compare with, whose policy moves too."""
    rng = np.random.default_rng(seed)
    ours, theirs, borrowed = (tensor(*rng.uniform(-9, -3, size=5)) for _ in range(3))
    logps = ours.requires_grad_() if logps is None else logps
    given = Ranked(logps, theirs, torch.tensor([4, 2, 3, 5, 2]), PROMPTS, 2, mean_reward=0.2)
    given.borrowed_log_ratios = borrowed + 6.2
    given.prompt_of_image_margin = torch.tensor([0])
    given.image_margins = given.log_ratios[:1] - 0.4
    return given


@pytest.mark.parametrize("name", LOSS_TYPES)
def test_every_loss_has_the_right_gradient(name):
    def losses(logps):
        return WeightedLosses(config(name))(ranked(logps=logps))

    logps = ranked().logps
    assert losses(logps).shape == (2,)
    assert gradcheck(losses, logps)


@pytest.mark.parametrize(
    "name", [name for name in LOSS_TYPES if name not in ("image_conditional", "anchored")]
)
def test_every_loss_raises_the_best_response_against_the_worst(name):
    given = ranked()
    WeightedLosses(config(name))(given).sum().backward()
    best, worst = given.logps.grad[[0, 3]], given.logps.grad[[2, 4]]
    assert (best < worst).all()


def test_a_policy_that_is_the_reference_pays_what_the_papers_say():
    """log 2 for each pair, log 3! for three ranked responses, 1 for the hinge, (1 / 2 beta)^2 for IPO."""
    logps = tensor(-4.0, -5.0, -6.0, -7.0, -8.0)
    same = Ranked(logps, logps, torch.ones(5), PROMPTS, 2)
    for name, expected in {
        "sigmoid": [math.log(2)] * 2,
        "robust": [math.log(2)] * 2,
        "hinge": [1.0] * 2,
        "ipo": [1 / 0.36] * 2,
        "plackett_luce": [math.log(6), math.log(2)],
    }.items():
        assert WeightedLosses(config(name))(same).tolist() == pytest.approx(expected), name


def test_kto_and_bco_equal_their_papers_formulas():
    """Responses 0 and 3 are the best of their prompts; the baseline is the mean of the borrowed log-ratios."""
    given = ranked(seed=3)
    r = 0.3 * (given.logps - given.ref_logps).detach().numpy()
    z0 = 0.3 * max(0.0, float(given.borrowed_log_ratios.mean()))
    assert z0 > 0
    good = np.array([True, False, False, True, False])
    kto = np.where(good, 2.0 * (1 - sigmoid(r - z0)), 0.5 * (1 - sigmoid(z0 - r)))
    loss = WeightedLosses(config("kto", desirable_weight=2.0, undesirable_weight=0.5))(given)
    assert loss.tolist() == pytest.approx([kto[:3].mean(), kto[3:].mean()], rel=1e-6)
    bco = -np.log(sigmoid(np.where(good, r - 0.2, 0.2 - r)))
    loss = WeightedLosses(config("bco"))(given)
    assert loss.tolist() == pytest.approx([bco[:3].mean(), bco[3:].mean()], rel=1e-6)


def test_a_baseline_below_zero_counts_as_zero():
    given = ranked()
    given.borrowed_log_ratios = tensor(-3.0, -5.0)
    loss = WeightedLosses(config("kto"))(given)
    given.borrowed_log_ratios = tensor()
    torch.testing.assert_close(WeightedLosses(config("kto"))(given), loss)


def test_scores_say_what_is_desirable_and_which_is_better():
    """Scores 1, 0, 1 for the first prompt: two good answers that tie, one pair each with the bad one. The second
    prompt has none: its first answer is the best."""
    given = ranked()
    given.scores = tensor(1.0, 0.0, 1.0, math.nan, math.nan)
    assert given.desirable.tolist() == [True, False, True, True, False]
    assert sorted(zip(*(side.tolist() for side in given.pairs), strict=True)) == [(0, 1), (2, 1), (3, 4)]


def test_an_answer_alone_will_do_for_kto_bco_and_sft_only():
    for name in LOSS_TYPES:
        assert WeightedLosses(config(name)).min_responses == (1 if name in ("kto", "bco", "sft") else 2), name
    assert WeightedLosses(config("sigmoid", "bco")).min_responses == 2


def test_half_smoothed_labels_can_not_tell_chosen_from_rejected():
    z = torch.randn(4)
    torch.testing.assert_close(dpo_loss(z, 0.5), dpo_loss(-z, 0.5))


def test_several_losses_are_added_up_with_their_weights_and_pairs_of_a_prompt_are_averaged():
    given = ranked()
    both = WeightedLosses(config("sigmoid", "sft", loss_weights=[0.5, 2.0]))(given)
    h = (given.logps - given.ref_logps).detach()
    pairs = [[(0, 1), (0, 2), (1, 2)], [(3, 4)]]
    for number, of_prompt in enumerate(pairs):
        dpo = np.mean([-np.log(sigmoid(0.3 * float(h[i] - h[j]))) for i, j in of_prompt])
        first = of_prompt[0][0]
        expected = 0.5 * dpo - 2.0 * given.logps[first].item() / given.lengths[first].item()
        assert both[number].item() == pytest.approx(expected, rel=1e-6)


def test_only_losses_that_need_a_reference_ask_for_one():
    assert not WeightedLosses(config("simpo", "sft")).need_reference
    assert WeightedLosses(config("simpo", "ipo")).need_reference


@pytest.mark.parametrize(
    ("loss_type", "more", "message"),
    [
        (["dpo"], {}, "--loss_type dpo: unknown; expected some of sigmoid, robust"),
        ([], {}, "--loss_type : unknown; expected some of sigmoid"),
        (["sigmoid", "sft"], {"loss_weights": [1.0]}, "--loss_weights: found 1, expected 2"),
    ],
)
def test_a_wrong_choice_is_answered_with_the_right_ones(loss_type, more, message):
    with pytest.raises(DataError, match=message):
        WeightedLosses(config(*loss_type, **more))
