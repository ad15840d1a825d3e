"""Hallucination in descriptions of the demo world, worked by hand."""

import pytest

from eval.benches import descriptions
from eval.report import marked
from tests.eval.conftest import answers
from training.utils.answers.mentions import objects_in

NAMES = ["cat", "dog", "bus", "hat", "cherry"]
SCENES = [
    {"id": "1", "image": "1.png", "objects": ["cat", "dog"]},
    {"id": "2", "image": "2.png", "objects": ["bus"]},
    {"id": "3", "image": "3.png", "objects": ["hat"]},
]


@pytest.fixture
def questions(write):
    return descriptions.load([write("truth.json", {"objects": NAMES, "scenes": SCENES})])


def test_hallucination_worked_by_hand(questions):
    """Mentions: cat, hat, hat | two buses | none = 4, of them 2 invented; objects 4, of them covered cat, bus."""
    scored = descriptions.score(questions, answers("A cat, a hat and a hat.", "Two buses.", ""))
    assert scored.metrics == {
        "CHAIR_i": pytest.approx(50.0),
        "CHAIR_s": pytest.approx(100 / 3),
        "Hal": pytest.approx(100 / 3),
        "Cover": pytest.approx(50.0),
    }
    assert scored.per_item[0]["invented"] == ["hat", "hat"]


def test_the_truth_itself_scores_no_hallucination_and_full_cover(questions):
    scored = descriptions.score(questions, answers("a cat and a dog.", "a bus.", "a hat."))
    assert (scored.metrics["Hal"], scored.metrics["CHAIR_i"], scored.metrics["Cover"]) == (0, 0, 100)


def test_all_samples_of_a_prompt_count(questions):
    scored = descriptions.score(questions, {"1": ["a cat.", "a bus."]})
    assert scored.n == 2 and scored.metrics["Hal"] == 50


def test_words_inside_words_are_no_mentions():
    assert objects_in("The category of hatred: busy dogma, but CATS.", NAMES) == ["cat"]


def test_invented_objects_are_marked_in_the_report_whatever_their_form():
    assert marked("A Cat and two hats.", ["hat"]) == [("A Cat and two ", False), ("hats", True), (".", False)]
