"""The curve of best-of-n against all sets, one by one, and its limits."""

import json
from itertools import combinations
from math import log, nan
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.best_of_n import BestOfNConfig, curve, expected_best, kl_of_best, main

SCORES = st.lists(st.integers(0, 1000), min_size=2, max_size=7, unique=True)


@settings(max_examples=40, deadline=None)
@given(SCORES, st.data())
def test_the_expectation_equals_that_over_all_sets(scores, data):
    n = data.draw(st.integers(1, len(scores)))
    values = data.draw(st.lists(st.floats(-5, 5), min_size=len(scores), max_size=len(scores)))
    chosen = [max(one, key=lambda i: scores[i]) for one in combinations(range(len(scores)), n)]
    assert expected_best(scores, values, n) == pytest.approx(mean(values[i] for i in chosen), abs=1e-9)


def test_worked_by_hand():
    """Scores 1, 2, 4: the best of two is 2 once and 4 twice. The bound for n = 2 is log 2 - 1/2."""
    assert expected_best([1, 4, 2], [1, 4, 2], 2) == pytest.approx(10 / 3)
    assert kl_of_best(1) == 0 and kl_of_best(2) == pytest.approx(log(2) - 0.5)


def test_the_curve_ends_with_all_samples_of_the_prompt_with_the_fewest(tmp_path, capsys):
    scores = [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 0.0, 0.0, 0.0, 0.0]]
    assert [point["n"] for point in curve(scores)] == [1, 2, 4, 5]
    assert curve(scores)[0]["best"] == pytest.approx((2.5 + 0.2) / 2)
    lines = [{"id": str(i), "scores": s} for i, s in enumerate([*scores, [nan, 1.0]])]
    predictions = tmp_path / "answers.jsonl"
    predictions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    main(BestOfNConfig(str(predictions), str(tmp_path / "curve.json")))
    assert json.loads((tmp_path / "curve.json").read_text()) == curve(scores)
    assert "1 of 3 prompts have a score that is no finite number: not in the curve" in capsys.readouterr().out
    assert (tmp_path / "curve.png").stat().st_size > 1000
