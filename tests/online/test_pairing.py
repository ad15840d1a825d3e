"""Which answers are learned from: values by hand."""

import random
from collections import Counter

import pytest

from training.online.pairing import balance_lengths, best, best_and_worst, ranked, sampled_pairs


def test_the_best_meets_the_worst_and_of_equal_ones_the_first():
    assert best_and_worst([0.5, 2, -1, 2, -1]) == [(1, 2)]
    assert best_and_worst([1, 1, 1]) == []
    assert best_and_worst([1, 3], margin=2) == [(1, 0)]
    assert best_and_worst([1, 3], margin=2.5) == []


def test_pairs_are_drawn_of_all_that_differ_enough_and_each_is_as_likely():
    scores = [3, 1, 1, 0]  # differ by 1 or more: 0-1, 0-2, 0-3, 1-3, 2-3; by 2 or more: the first three
    drawn = Counter(
        pair for seed in range(600) for pair in sampled_pairs(scores, 2, random.Random(seed), margin=1)
    )
    assert set(drawn) == {(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)}
    assert all(190 < count < 290 for count in drawn.values())  # 240 each: two of five, 600 times
    assert sorted(sampled_pairs(scores, 9, random.Random(0), margin=2)) == [(0, 1), (0, 2), (0, 3)]
    assert sampled_pairs([2, 2], 2, random.Random(0)) == []


def test_all_are_ranked_and_the_best_is_imitated():
    assert ranked([0, 2, 1]) == [(1, 2, 0)] and ranked([1, 1]) == []
    assert best([0, 2, 2]) == [(1,)] and best([0, 2], least=2.5) == [] and best([0], least=0) == [(0,)]


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [
        # Means of 9 and 10 with all; without the second, which lacks 60 %, 11.5 and 10; so all stay.
        ([(12, 10), (4, 10), (11, 10)], [True, True, True]),
        # 8 and 10 with all; without the third (70 %) 10.5 and 10; without the second and third 13 and 10.
        ([(13, 10), (8, 10), (3, 10)], [True, True, False]),
        # Better answers that are longer always stay: nothing mends that.
        ([(20, 10), (20, 10)], [True, True]),
        # One pair, whose better answer is empty but for a word: no share leaves it in, so all stay.
        ([(1, 1000)], [True]),
    ],
)
def test_pairs_are_left_out_until_better_answers_are_as_long_as_worse_ones(lengths, kept):
    assert balance_lengths(lengths) == kept


def test_a_cut_that_takes_less_away_wins_among_equal_ones():
    """Both 0.2 and 0.3 would keep the same pairs, and so would all between."""
    assert balance_lengths([(10, 10), (8, 10), (7, 10), (12, 10)]) == [True, True, False, True]
