"""What says that an answer is good, and which of several is better."""

import pytest

from training.utils.data.reader import Reader
from training.utils.data.record import DataError


def labelled(**more) -> dict:
    return {"prompt": "What is it?", "completion": "A cat."} | more


def rated(*scores: float) -> dict:
    turns = [{"from": "human", "value": "a?"}, {"from": "gpt", "value": ["x", "y", "z"]}]
    return {"conversations": turns} | ({"scores": list(scores)} if scores else {})


KTO_ROWS = {  # a row, and its scores: above 0 for a desirable answer
    "a label": (labelled(label=False), (0.0,)),
    "LLaMA-Factory's tag": ({"instruction": "What?", "output": "A cat.", "kto_tag": True}, (1.0,)),
    "the tag beside messages": (
        {
            "messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}],
            "kto_tag": False,
        },
        (0.0,),
    ),
    "a label as a number": (
        {"conversations": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}], "label": 0},
        (0.0,),
    ),
    "a label wins over a rating": (labelled(label=False, score=7.5), (0.0,)),
    "ratings: the best is desirable": (rated(2, 9, 4), (2.5, -2.5, -4.5)),
    "all below 0, as of a reward model": (rated(-9, -2, -5), (1.5, -1.5, -5.5)),
    "two best ones": (rated(9, 2, 9), (3.5, 3.5, -3.5)),
    "labels of several answers": (rated(1, 0, 1), (1.0, 1.0, 0.0)),
    "a ranking without scores": (rated(), None),
}


@pytest.mark.parametrize("case", KTO_ROWS)
def test_what_is_desirable(case, tmp_path):
    """An answer by its label; of several the best, as where TRL takes a pair apart."""
    row, scores = KTO_ROWS[case]
    assert Reader(1, needs_labels=True).record(row, "rows.json[0]", tmp_path).scores == scores


@pytest.mark.parametrize("row", [labelled(score=7.5), labelled()], ids=["a rating", "nothing"])
def test_an_answer_alone_is_not_taken_for_desirable(row, tmp_path):
    with pytest.raises(
        DataError, match="nothing says whether the answer is desirable; expected `label` of true"
    ):
        Reader(1, needs_labels=True).record(row, "rows.json[0]", tmp_path)


def test_the_score_of_a_completion_is_the_mean_of_its_ratings_that_are_numbers(tmp_path):
    def completion(text, *ratings):
        rated = zip(("Helpfulness", "Visual Faithfulness", "Ethical Considerations"), ratings, strict=True)
        annotations = {aspect: {"Rating": rating, "Rationale": "So."} for aspect, rating in rated}
        return {"response": text, "annotations": annotations}

    completions = [completion("x", "5", "4.5", "1"), completion("y", " 2 ", "N/A", 1.5)]
    read = Reader(2).record({"prompt": "a?", "completions": completions}, "rows.json[0]", tmp_path)
    assert read.scores == (3.5, 1.75)


def test_a_rating_stays_a_rating_beside_a_label(tmp_path):
    read = Reader(1, needs_scores=True).record(labelled(label=True, score=7.5), "rows.json[0]", tmp_path)
    assert read.scores == (7.5,)


def test_a_label_beside_an_empty_answer_leaves_a_prompt(tmp_path):
    read = Reader().record(labelled(label=True, completion=""), "rows.json[0]", tmp_path)
    assert (read.responses, read.scores) == ((), None)


def test_an_undesirable_answer_is_not_imitated(tmp_path):
    with pytest.raises(DataError, match="labelled as not desirable, and would be learned"):
        Reader(1, 1, imitates=True).record(labelled(label=False), "rows.json[0]", tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (rated(3, 3, 3), "all 3 responses have the score 3; expected one that is better"),
        ({"prompt": "a?", "chosen": "b", "rejected": "c", "label": True}, "whether one answer .* found 2"),
    ],
)
def test_answers_that_nothing_ranks_are_refused(row, message, tmp_path):
    with pytest.raises(DataError, match=message):
        Reader(2).record(row, "rows.json[0]", tmp_path)


def test_a_reward_that_checks_answers_needs_a_label(tmp_path):
    row = {"id": "1", "problem": "How many?", "answer": "3"}
    assert Reader(needs_answer=True).record(row, "rows.json[0]", tmp_path).label == "3"
    with pytest.raises(DataError, match="has no label to check answers against"):
        Reader(needs_answer=True).record({"prompt": "How many?"}, "rows.json[0]", tmp_path)
