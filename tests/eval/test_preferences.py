"""Pair accuracy of a reward model, worked by hand, from the formats of the reward benchmarks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.benches import preferences
from eval.benches.question import Question
from eval.benches.scored import match
from eval.benches.table import BENCHES
from eval.score import ScoreConfig, main
from eval.uncertainty import intervals
from tests.conftest import load_records, picture
from tests.eval.conftest import lines
from training.utils.data.record import DataError


def vl(name: str, ranks: list[int]) -> dict:
    return {
        "id": name,
        "query": "What?",
        "response": ["one", "two"],
        "human_ranking": ranks,
        "image": "a.png",
    }


def multimodal(name: str, category: str, better: str) -> dict:
    entry = {"ID": name, "Category": category, "Better": better, "Text": "What?", "Image": "a.png"}
    return entry | {"Output1": "one", "Output2": "two"}


def test_the_better_response_comes_first_in_records_of_the_reward_benchmarks(write):
    picture().save(write("a.png", b""))
    entries = [
        vl("a", [0, 1]),
        vl("b", [1, 0]),
        multimodal("c", "vqa", "Output1"),
        multimodal("d", "vqa", "Output2"),
    ]
    records = load_records(str(write("all.jsonl", lines(*entries))), None, min_responses=2)
    assert [(record.id, record.responses) for record in records] == [
        ("a", ("one", "two")),
        ("b", ("two", "one")),
        ("c", ("one", "two")),
        ("d", ("two", "one")),
    ]
    assert records[0].turns[-1].text == "<image>\nWhat?"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (vl("a", [0]), r"`human_ranking` holds 1 ranks for 2 responses"),
        (multimodal("a", "vqa", "A"), "`Better` is 'A', expected Output1 or Output2"),
        ({"x": 1}, "or those of a reward benchmark"),
    ],
)
def test_a_bad_entry_says_what_was_expected(entry, message, write):
    with pytest.raises(DataError, match=message):
        BENCHES["vl_rewardbench"].questions([str(write("a.json", [entry]))])


def test_a_question_keeps_its_system_prompt_and_the_turns_before_it(write):
    earlier = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]
    asked = {"from": "human", "value": "What?"}
    entry = {
        "system": "Be brief.",
        "conversations": [*earlier, asked, {"from": "gpt", "value": ["one", "two"]}],
    }
    (question,) = preferences.load([write("a.json", [entry])])
    assert question.entry() == {
        "id": "0",
        "image": [],
        "system": "Be brief.",
        "conversations": [*earlier, asked],
    }


def test_vl_rewardbench_worked_by_hand(write, capsys):
    """general: right and tie = 75 %; reasoning: wrong = 0; hallucination: right. Micro 2.5 of 4, macro 175 / 3."""
    truth = write("vl.json", [vl(n, [1, 0]) for n in ("wildvision-1", "vlfeedback_2", "mmmu-3", "RLAIF-V-4")])
    given_scores = {
        "wildvision-1": [2, 1],
        "vlfeedback_2": [1, 1],
        "mmmu-3": [0, 1],
        "RLAIF-V-4": [0.5, 0.25],
    }
    scores = write("s.jsonl", lines(*({"id": name, "scores": s} for name, s in given_scores.items())))
    output = write("out.json", "")
    main(ScoreConfig("vl_rewardbench", [str(truth)], str(scores), str(output)))
    result = json.loads(output.read_text())
    assert result["metrics"] == pytest.approx({"accuracy": 62.5, "macro": 175 / 3, "ties": 25})
    assert {name: group["accuracy"] for name, group in result["groups"].items()} == {
        "general": 75,
        "hallucination": 100,
        "reasoning": 0,
    }
    assert "ties 25.0" in capsys.readouterr().out


def test_multimodal_rewardbench_parts_safety_and_reasoning(write):
    names = [
        ("pairs_1", "safety"),
        ("x", "safety"),
        ("math_1", "reasoning"),
        ("y", "reasoning"),
        ("z", "VQA"),
    ]
    file = write("mm.jsonl", lines(*(multimodal(name, category, "Output2") for name, category in names)))
    asked = BENCHES["multimodal_rewardbench"].questions([str(file)])
    groups = ["safety/bias", "safety/toxicity", "reasoning/math", "reasoning/coding", "vqa"]
    assert [question.group for question in asked] == groups


def test_all_pairs_of_longer_rankings_count():
    """3 > 1 > 2 has the pairs 3 1 and 3 2 right and 1 2 wrong."""
    scored = preferences.score([Question("1", "?", (), (0, 1, 2))], {"1": [[3.0, 1.0, 2.0]]})
    assert scored.metrics["accuracy"] == pytest.approx(200 / 3)


def test_responses_that_the_data_tie_are_no_pair(write):
    """Of 5, 5 and 1 the pairs are two: the second against the third, and the first against it."""
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": ["a", "b", "c"]}]
    rows = [
        {"id": str(i), "conversations": turns, "scores": scores}
        for i, scores in enumerate(([5, 5, 1], [2, 2, 2]))
    ]
    asked = BENCHES["preferences"].questions([str(write("p.json", rows))])
    odds = [[0, -3, 2], [3, 0, 2], [-2, 4, 0]]
    given = [{"id": "0", "scores": [0.1, 0.9, 0.0], "log_odds": odds}, {"id": "1", "scores": [1.0, 2.0, 3.0]}]
    scored = preferences.score(asked, match(asked, given, BENCHES["preferences"].read)[0])
    (item,) = scored.per_item
    assert (scored.metrics["accuracy"], item["pairs"], item["consistent"]) == (100, 2, 1)
    assert scored.warnings == ["1 questions whose data have all responses tied: not scored"]


def test_pairs_shown_side_by_side_are_consistent_where_both_orders_are_right():
    """Right in both orders; in one; 3 answers with the pairs 0 1 right in both, 0 2 in one, 1 2 in none."""
    asked = [
        Question("1", "?", (), (0, 1)),
        Question("2", "?", (), (0, 1)),
        Question("3", "?", (), (0, 1, 2)),
    ]
    given = [
        {"id": "1", "scores": [1.0, -1.0], "log_odds": [[0, 3], [-1, 0]]},
        {"id": "2", "scores": [1.0, -1.0], "log_odds": [[0, 3], [1, 0]]},
        {"id": "3", "scores": [2.0, 0.0, 1.0], "log_odds": [[0, 1, 2], [-1, 0, -4], [3, 5, 0]]},
    ]
    bench = BENCHES["vl_rewardbench"]
    scored = bench.score(asked, match(asked, given, bench.read)[0])
    assert scored.metrics == pytest.approx({"accuracy": 80, "consistent": 40, "ties": 0})
    assert "side by side in both orders" in scored.variant
    assert "consistent" in intervals(scored.per_item, bench.rates)
    alone = [{"id": "1", "scores": [1.0, 0.0]}]
    assert "consistent" not in bench.score(asked, match(asked, alone, bench.read)[0]).metrics
    with pytest.raises(DataError, match="id 3: `log_odds` holds no number for each two of 3 responses"):
        bench.read(given[2] | {"log_odds": [[0, 1], [1, 0]]})


def test_scores_of_another_file_and_scores_that_are_no_number_are_told():
    asked = [Question("1", "?", (), (0, 1))]
    with pytest.raises(DataError, match="id 1: 3 scores for 2 responses"):
        preferences.score(asked, {"1": [[1, 2, 3]]})
    scored = preferences.score(asked, {"1": [[float("nan"), 2]]})
    assert scored.metrics["accuracy"] == 0 and scored.parse_failures == 1 and scored.warnings


@given(st.integers(1, 30), st.floats(-9, 9))
def test_a_constant_reward_model_gets_half_of_the_pairs_and_ties_in_all(number, value):
    asked = [Question(str(i), "?", (), (0, 1), "ab"[i % 2]) for i in range(number)]
    scored = preferences.score(asked, {question.id: [[value, value]] for question in asked})
    assert scored.metrics["accuracy"] == 50 and scored.metrics["ties"] == 100


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from("ab")), min_size=1), st.randoms()
)
def test_order_and_doubling_do_not_matter(drawn, random):
    asked = [Question(str(i), "?", (), (0, 1), group) for i, (_, _, group) in enumerate(drawn)]
    given_scores = {str(i): [[one, two]] for i, (one, two, _) in enumerate(drawn)}
    once = preferences.score(asked, given_scores).metrics
    assert preferences.score(random.sample(asked, len(asked)), given_scores).metrics == pytest.approx(once)
    doubled = {name: scores * 2 for name, scores in given_scores.items()}
    assert preferences.score(asked, doubled).metrics == pytest.approx(once)


def test_scores_that_are_none_are_counted_and_wrong(write):
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": ["good", "bad"]}]
    asked = BENCHES["preferences"].questions(
        [str(write("p.json", [{"id": str(i), "conversations": turns} for i in range(4)]))]
    )
    given = [[2.0, 1.0], [None, 1.0], None, "high"]
    scored_lines = [{"id": str(i), "scores": scores} for i, scores in enumerate(given)]
    scored = preferences.score(asked, match(asked, scored_lines, BENCHES["preferences"].read)[0])
    assert (scored.metrics["accuracy"], scored.parse_failures) == (25, 3)
