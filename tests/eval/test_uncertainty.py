"""Intervals and tests against what statistics has in closed form."""

import time

import numpy as np
import pytest

from eval.benches import amber, pope, preferences, science_qa, win_rate
from eval.benches.choices import rates as accuracy
from eval.benches.question import Question
from eval.benches.table import BENCHES, rates_of
from eval.uncertainty import compare, intervals


def chosen(*right: bool, start: int = 0) -> list[dict]:
    return [{"id": str(n), "right": r, "kind": "TXT"} for n, r in enumerate(right, start)]


def test_the_interval_of_a_share_is_the_binomial_one():
    """300 of 400 right: 75 % +- 1.96 * sqrt(0.75 * 0.25 / 400) = 4.24 points."""
    low, high = intervals(chosen(*[True] * 300, *[False] * 100), accuracy)["accuracy"]
    assert (low, high) == pytest.approx((75 - 4.24, 75 + 4.24), abs=0.4)
    assert intervals(chosen(True, True), accuracy)["accuracy"] == (100, 100)
    assert "IMG_accuracy" not in intervals(chosen(True, False), accuracy)


def test_samples_of_one_question_are_not_taken_for_more_questions():
    once = intervals(chosen(*[True] * 50, *[False] * 50), accuracy)["accuracy"]
    tenfold = intervals(chosen(*[True] * 50, *[False] * 50) * 10, accuracy)["accuracy"]
    assert tenfold == pytest.approx(once)


def exact_p(only_before: int, only_after: int) -> float:
    """McNemar's exact test: two-sided binomial of the questions that one run alone has right."""
    from math import comb

    n = only_before + only_after
    tail = sum(comb(n, k) for k in range(max(only_before, only_after), n + 1)) / 2**n
    return min(1.0, 2 * tail)


@pytest.mark.parametrize(("lost", "won"), [(0, 1), (0, 5), (0, 6), (4, 16), (10, 12)])
def test_the_paired_test_is_mcnemars(lost, won):
    """Of 100 questions both have 50 right; `lost` only the first run, `won` only the second."""
    both = [(True, True)] * 50 + [(True, False)] * lost + [(False, True)] * won
    before, after = zip(*both + [(False, False)] * (100 - len(both)), strict=True)
    found = compare(chosen(*before), chosen(*after), accuracy)["accuracy"]
    assert found.change == pytest.approx(won - lost) and found.n == 100
    assert found.p == pytest.approx(exact_p(lost, won), abs=0.04)
    assert found.is_told_apart == (exact_p(lost, won) < 0.05)


def test_only_common_questions_are_compared_whatever_their_order():
    before, after = chosen(*[True] * 9, False), chosen(*[False] * 5, *[True] * 9, start=5)
    found = compare(before[::-1], after, accuracy)["accuracy"]  # questions 5 to 9: 4 of 5, then none
    assert (found.n, found.change) == (5, pytest.approx(-80))
    assert compare(before, chosen(True, start=50), accuracy) == {}


def said_yes(n: int, seed: int, right: float) -> list[dict]:
    draw = np.random.default_rng(seed).random((n, 2))
    labels = ["yes" if x < 0.5 else "no" for x in draw[:, 0]]
    other = {"yes": "no", "no": "yes"}
    answers = [label if x < right else other[label] for label, x in zip(labels, draw[:, 1], strict=True)]
    pairs = zip(labels, answers, strict=True)
    return [
        {"id": str(i), "answer": answer, "label": label, "split": "abc"[i % 3]}
        for i, (label, answer) in enumerate(pairs)
    ]


def test_fifteen_thousand_answers_take_about_a_second():
    items = said_yes(15_000, 0, 0.85)
    started = time.process_time()
    found = intervals(items, pope.rates)
    assert time.process_time() - started < 4  # 0.6 on a quiet core
    assert found["F1"][1] - found["F1"][0] < 1.5
    assert found == intervals(items, pope.rates)  # seeded


TOTAL = lambda values: np.array([np.sum(values, dtype=float)])  # noqa: E731


def test_rates_are_the_figures_of_the_scorers():
    """Of the very items that a scorer wrote, each figure once more."""
    asked = [Question(str(i), "?", (), "no" if i % 3 else "yes", f"s{i % 2}") for i in range(40)]
    texts = {str(i): [("yes", "no", "hm")[i * 7 % 5 % 3]] for i in range(40)}
    scored = pope.score(asked, texts)
    assert_equal(pope.rates(scored.per_item, TOTAL), scored.metrics)
    kinds = ["discriminative-relation", "discriminative-hallucination"]
    asked = [Question(q.id, "?", (), q.truth, kinds[i % 2]) for i, q in enumerate(asked)]
    notes = amber.amber_generative.Annotation(
        ("cat", "dog"), ("bus",), amber.Associations({"cat": ("kitten",), "dog": (), "bus": ()}, frozenset())
    )
    asked += [Question(f"g{i}", "?", (), notes, "generative") for i in range(4)]
    texts |= {f"g{i}": [text] for i, text in enumerate(("a cat", "a bus and a dog", "a kitten, a bus", ""))}
    scored = amber.score(asked, texts)
    assert_equal(amber.rates(scored.per_item, TOTAL), scored.metrics, abs=0.06)  # its figures are rounded
    asked = [Question(str(i), "?", (), "B", ("IMG", "TXT")[i % 2]) for i in range(9)]
    scored = science_qa.score(asked, {str(i): ["ABB"[i % 3]] for i in range(9)})
    assert_equal(BENCHES["science_qa"].rates(scored.per_item, TOTAL), scored.metrics)
    asked = [Question(str(i), "?", (), (0, 1, 2), "xy"[i % 2]) for i in range(4)]
    ranked = {"0": [[3, 2, 1]], "1": [[1, 2, 3]], "2": [[1, 1, 0]], "3": [[2, 3, 1]]}
    scored = preferences.score(asked, ranked)
    assert_equal(preferences.rates(scored.per_item, TOTAL), scored.metrics)
    ours = [{"id": i, "scores": [float(x)]} for i, x in zip("abc", (1, 2, 0), strict=True)]
    theirs = [{"id": i, "scores": [1.0]} for i in "abc"]
    scored = win_rate.score_rewards(ours, theirs)
    assert_equal(rates_of("win_rate")(scored.per_item, TOTAL), scored.metrics)


@pytest.mark.parametrize(
    ("bench", "items", "metrics"),
    [  # worked by hand
        (
            "chair",
            [
                {"invented": ["hat"], "named": ["hat", "cat"], "covered": ["cat"], "there": "ab"},
                {"invented": [], "named": [], "covered": [], "there": "ab"},
            ],
            {"CHAIR_i": 50, "CHAIR_s": 50, "CHAIR_s_refine": 100, "recall": 25},
        ),
        (
            "descriptions",
            [{"invented": ["bus"], "mentions": 4, "covered": ["cat"], "num_objects": 2}],
            {"CHAIR_i": 25, "CHAIR_s": 100, "Hal": 100, "Cover": 50},
        ),
        (
            "mmhal",
            [{"rating": rating} for rating in (6, 3, 2, 0)],
            {"score": 2.75, "hallucination_rate": 50, "informativeness": 100 * 5 / 12},
        ),
        (
            "llava_bench",
            [
                {"rating": ours, "reference_rating": reference}
                for ours, reference in ((8, 8), (4, 8), (4, 2), (None, None))
            ],
            {"relative": 100 * 16 / 18, "ours_x10": 160 / 3, "reference_x10": 60},
        ),
    ],
)
def test_rates_worked_by_hand(bench, items, metrics):
    assert_equal(rates_of(bench)(items, TOTAL), metrics)


def assert_equal(found: dict, metrics: dict, abs: float = 1e-9) -> None:
    assert set(metrics) <= set(found)
    assert {name: found[name][0] for name in metrics} == pytest.approx(metrics, abs=abs)


def test_every_benchmark_has_intervals():
    assert [name for name in BENCHES if rates_of(name) is None] == []
