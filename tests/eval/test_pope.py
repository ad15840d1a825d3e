"""POPE against figures worked by hand, its files in every spelling, and what must not matter."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.benches import pope
from eval.benches.question import Question
from eval.benches.table import BENCHES
from tests.eval.conftest import answers, lines
from training.utils.data.record import DataError


def questions(*labels: str, split: str = "random") -> list[Question]:
    return [Question(str(number), "?", ("a.png",), label, split) for number, label in enumerate(labels, 1)]


def entry(number: int, label: str = "yes") -> dict:
    return {"question_id": number, "image": "a.jpg", "text": "Is there a cat in the image?", "label": label}


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


def test_worked_by_hand():
    """Said yes, yes, yes, no to yes, no, yes, yes: 2 of the 3 yes are right, 2 of the 3 true yes are said."""
    scored = pope.score(questions("yes", "no", "yes", "yes"), answers("Yes", "Yes", "Yes, a cat.", "No"))
    expected = {"accuracy": 50, "precision": 200 / 3, "recall": 200 / 3, "F1": 200 / 3, "yes_ratio": 75}
    assert scored.metrics == pytest.approx(expected)
    assert scored.warnings == [] and scored.parse_failures == 0


@pytest.mark.parametrize(
    ("word", "figures"),
    [
        ("Yes", {"accuracy": 50, "precision": 50, "recall": 100, "F1": 200 / 3, "yes_ratio": 100}),
        ("No", {"accuracy": 50, "precision": 0, "recall": 0, "F1": 0, "yes_ratio": 0}),
    ],
)
def test_saying_the_same_to_all_gives_the_known_figures(word, figures):
    scored = pope.score(questions("yes", "no"), answers(word, word))
    assert scored.metrics == pytest.approx(figures)
    assert scored.warnings == (
        ["random: no answer says yes; its precision counts as 0"] if word == "No" else []
    )


def test_the_strict_parser_counts_an_unclear_answer_as_wrong_and_as_no_yes():
    scored = pope.score(questions("yes", "yes"), answers("", "Yes."), parser="strict")
    assert scored.metrics["accuracy"] == 50 and scored.metrics["yes_ratio"] == 50
    assert scored.parse_failures == 1 and "strict" in scored.variant


def test_unclear_answers_are_counted():
    scored = pope.score(questions("yes", "no"), answers("", "Perhaps"))
    assert scored.warnings == ["2 of 2 answers say neither yes nor no, or both"]
    assert scored.parse_failures == 2


def test_answers_that_the_two_parsers_read_differently_are_counted():
    scored = pope.score(questions("no", "no"), answers("No!", "No."))
    assert "1 of 2 answers are read differently by the official and strict parser" in scored.warnings


def test_each_file_is_a_split_and_the_figure_is_the_mean_of_theirs(write):
    """Right to all 3 of one split and to 0 of 1 of the other: 50 %, where all answers together would give 75 %."""
    files = [
        write(
            "coco_pope_random.json", lines(*(entry(i) for i in (1, 2, 3)))
        ),  # JSON Lines in spite of its name
        write("aokvqa_pope_seem_popular.json", [entry(1, "no")]),
    ]
    asked = pope.load(files)
    assert [question.id for question in asked][:1] == ["coco_pope_random/1"]
    scored = pope.score(asked, {question.id: ["Yes"] for question in asked})
    assert {name: group["accuracy"] for name, group in scored.groups.items()} == {
        "coco_pope_random": 100,
        "aokvqa_pope_seem_popular": 0,
    }
    assert scored.metrics["accuracy"] == 50


@pytest.mark.parametrize(
    "content",
    [
        lines(entry(1), entry(2)),
        json.dumps([entry(1), entry(2)]),
        b"\xef\xbb\xbf" + lines(entry(1), entry(2)).encode(),
        lines(entry(1), entry(2)).replace("\n", "\r\n").encode(),
        lines(entry(1), entry(2)).rstrip("\n"),
        json.dumps(entry(1) | {"text": "a\u2028b"}, ensure_ascii=False) + "\n" + lines(entry(2)),
    ],
    ids=["lines", "array", "byte order mark", "CRLF", "no last newline", "line separator in a text"],
)
def test_a_file_may_be_spelled_in_any_way_that_is_in_circulation(content, write):
    asked = pope.load([write("coco.json", content)])
    assert [(question.id, question.images, question.truth) for question in asked] == [
        ("coco/1", ("a.jpg",), "yes"),
        ("coco/2", ("a.jpg",), "yes"),
    ]


def test_a_folder_stands_for_its_files(write):
    write("pope/b.json", [entry(1)])
    folder = write("pope/a.jsonl", lines(entry(1))).parent
    assert [question.group for question in pope.load([folder])] == ["a", "b"]


def test_llavas_format_with_labels_keeps_its_ids(write):
    turn = {"from": "human", "value": "Is there a cat?"}
    file = write("q.json", [{"id": "s-0", "image": "a.png", "conversations": [turn], "label": "Yes"}])
    (asked,) = pope.load([file])
    assert (asked.id, asked.prompt, asked.truth) == ("s-0", "Is there a cat?", "yes")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([entry(1, "maybe")], r"coco.json\[0\]: label 'maybe', expected yes or no"),
        ([{"question_id": 1, "label": "no"}], r"coco.json\[0\]: lacks `image`; found label, question_id"),
        ([3], r"coco.json\[0\]: found int, expected a JSON object"),
        ("{", "coco.json: does not parse as JSON"),
        ([], "coco.json: no question"),
        ([entry(1), entry(1)], "2 questions have the id 'coco/1'"),
    ],
)
def test_a_bad_file_says_where_and_what_was_expected(bad, message, write):
    with pytest.raises(DataError, match=message):
        BENCHES["pope"].questions([str(write("coco.json", bad))])


TEXTS = st.sampled_from(["Yes", "No", "", "No!", "not really", "yes, no"])
ANSWERED = st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["a", "b"]), TEXTS), min_size=1)


@given(ANSWERED, st.randoms())
def test_order_and_doubling_do_not_matter(answered, random):
    asked = [Question(str(i), "?", (), label, split) for i, (label, split, _) in enumerate(answered)]
    given_answers = {str(i): [text] for i, (_, _, text) in enumerate(answered)}
    once = pope.score(asked, given_answers).metrics
    mixed = random.sample(asked, len(asked))
    assert pope.score(mixed, given_answers).metrics == pytest.approx(once)
    again = [Question(f"{q.id}'", q.prompt, q.images, q.truth, q.group) for q in asked]
    doubled = given_answers | {f"{name}'": texts for name, texts in given_answers.items()}
    assert pope.score(asked + again, doubled).metrics == pytest.approx(once)


@given(st.integers(1, 40))
def test_all_yes_and_all_no_on_a_balanced_split(half):
    asked = questions(*["yes", "no"] * half)
    for word, recall, f1 in (("Yes", 100, 200 / 3), ("No", 0, 0)):
        metrics = pope.score(asked, {question.id: [word] for question in asked}).metrics
        assert (metrics["accuracy"], metrics["recall"]) == (50, recall)
        assert metrics["F1"] == pytest.approx(f1)


def test_many_answers_are_scored_in_seconds(write):
    file = write("coco.json", lines(*(entry(i, ("yes", "no")[i % 2]) for i in range(20_000))))
    started = time.monotonic()
    asked = BENCHES["pope"].questions([str(file)])
    scored = pope.score(asked, {question.id: ["Yes, there is a cat in the image."] for question in asked})
    assert scored.n == 20_000 and time.monotonic() - started < 10
