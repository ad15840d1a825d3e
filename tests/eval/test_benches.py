"""Scorers against figures worked by hand, and what must not matter."""

import json
from functools import partial

import pytest

from data.demo_text import objects_in
from eval.benches import amber, pope
from eval.report import marked
from eval.score import ScoreConfig, main

NAMES = ["cat", "dog", "bus", "hat", "cherry"]
FIND = partial(objects_in, names=NAMES)
TRUTH = [
    {"id": "1", "objects": ["cat", "dog"]},
    {"id": "2", "objects": ["bus"]},
    {"id": "3", "objects": ["hat"]},
]


def predictions(*texts):
    return [{"id": str(number), "response": text} for number, text in enumerate(texts, 1)]


def test_hallucination_worked_by_hand():
    """Mentions: cat, hat, hat | two buses | none = 4, of them 2 invented; objects 4, of them covered cat, bus."""
    scored = amber.score(TRUTH, predictions("A cat, a hat and a hat.", "Two buses.", ""), FIND)
    assert scored.metrics == {
        "CHAIR_i": pytest.approx(50.0),
        "CHAIR_s": pytest.approx(100 / 3),
        "Hal": pytest.approx(100 / 3),
        "Cover": pytest.approx(50.0),
        "words": pytest.approx((7 + 2 + 0) / 3),
    }
    assert scored.per_item[0]["invented"] == ["hat", "hat"]
    assert scored.warnings == []


def test_the_truth_itself_scores_no_hallucination_and_full_cover():
    scored = amber.score(TRUTH, predictions("a cat and a dog.", "a bus.", "a hat."), FIND)
    assert (scored.metrics["Hal"], scored.metrics["CHAIR_i"], scored.metrics["Cover"]) == (0, 0, 100)


def test_words_inside_words_are_no_mentions():
    assert FIND("The category of hatred: busy dogma, but CATS.") == ["cat"]


def test_missing_double_and_unknown_answers_are_told_and_not_scored():
    given = [*predictions("a cat."), {"id": "1", "response": "a bus."}, {"id": "9", "response": "x"}]
    scored = amber.score(TRUTH, given, FIND)
    assert scored.n == 1 and scored.metrics["Hal"] == 0
    assert scored.warnings == [
        "2 of 3 ids without an answer: not scored",
        "1 of 3 ids answered twice: the first answer counts",
        "1 of 3 ids not among the questions: not scored",
    ]


def test_all_samples_of_a_prompt_count():
    scored = amber.score(TRUTH[:1], [{"id": "1", "response": "x", "responses": ["a cat.", "a bus."]}], FIND)
    assert scored.n == 2 and scored.metrics["Hal"] == 50


@pytest.mark.parametrize("bench", ["amber", "pope"])
def test_order_and_doubling_do_not_matter(bench):
    texts = ["a cat and a bus.", "No bus.", "Yes, a hat."]
    labels = [{"id": str(i), "label": label} for i, label in enumerate(("yes", "no", "yes"), 1)]

    def metrics(given, truth):
        if bench == "amber":
            return amber.score(truth, given, FIND).metrics
        return pope.score(truth, given).metrics

    truth = TRUTH if bench == "amber" else labels
    once = metrics(predictions(*texts), truth)
    assert metrics(predictions(*texts)[::-1], truth[::-1]) == once
    second = [line | {"id": line["id"] + "b"} for line in predictions(*texts)]
    doubled = metrics([*predictions(*texts), *second], [*truth, *(t | {"id": t["id"] + "b"} for t in truth)])
    assert doubled == pytest.approx(once)


@pytest.mark.parametrize(
    ("text", "official", "strict"),
    [
        ("Yes.", "yes", "yes"),
        ("No, there is not.", "no", "no"),
        ("no\n", "no", "no"),
        ("No!", "yes", "no"),  # the official parser does not know "No!"
        ("NO", "yes", "no"),
        ("There is not a cat", "no", "unknown"),
        ("", "yes", "unknown"),
        ("Yes and no.", "no", "unknown"),
        ("I do not know. Yes.", "no", "yes"),
        ("Nope", "yes", "unknown"),
    ],
)
def test_how_an_answer_is_read(text, official, strict):
    assert (pope.official(text), pope.strict(text)) == (official, strict)


def questions(*labels):
    return [{"id": str(number), "label": label} for number, label in enumerate(labels, 1)]


def test_pope_worked_by_hand():
    """Said yes, yes, no, no to yes, no, no, yes: one of each kind."""
    scored = pope.score(questions("yes", "no", "no", "yes"), predictions("Yes", "Yes", "No", "No"))
    assert set(scored.metrics.values()) == {50.0}


@pytest.mark.parametrize(
    ("word", "figures"),
    [
        ("Yes", {"accuracy": 50, "precision": 50, "recall": 100, "F1": 200 / 3, "yes_ratio": 100}),
        ("No", {"accuracy": 50, "precision": 0, "recall": 0, "F1": 0, "yes_ratio": 0}),
    ],
)
def test_saying_the_same_to_all_gives_the_known_figures(word, figures):
    scored = pope.score(questions("yes", "no"), predictions(word, word))
    assert scored.metrics == pytest.approx(figures)


def test_unclear_answers_are_counted():
    scored = pope.score(questions("yes", "no"), predictions("", "Perhaps"))
    assert scored.warnings == ["2 of 2 answers say neither yes nor no, or both"]


def test_answers_that_the_two_parsers_read_differently_are_counted():
    scored = pope.score(questions("no", "no"), predictions("No!", "No."))
    assert scored.warnings == ["1 of 2 answers are read differently by the official and strict parser"]


@pytest.mark.parametrize("content", [None, "", '{"id": "other", "response": "a cat."}'])
def test_predictions_that_answer_nothing_are_an_error_not_a_perfect_score(content, tmp_path):
    (tmp_path / "truth.json").write_text(json.dumps({"objects": NAMES, "scenes": TRUTH}))
    if content is not None:
        (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(SystemExit, match="error: .*p.jsonl: (no such file|answers none of the questions)"):
        main(ScoreConfig("amber", str(tmp_path / "truth.json"), str(tmp_path / "p.jsonl")))


def test_a_last_line_without_its_end_counts(tmp_path, capsys):
    (tmp_path / "truth.json").write_text(json.dumps({"objects": NAMES, "scenes": TRUTH[:1]}))
    (tmp_path / "p.jsonl").write_text('{"id": "1", "response": "a cat."}')
    main(ScoreConfig("amber", str(tmp_path / "truth.json"), str(tmp_path / "p.jsonl")))
    assert "1 answers" in capsys.readouterr().out


def test_invented_objects_are_marked_in_the_report_whatever_their_form():
    assert marked("A Cat and two hats.", ["hat"]) == [("A Cat and two ", False), ("hats", True), (".", False)]
