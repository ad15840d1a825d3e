"""Rows that teach verdicts, with critiques where records hold them, and what a model remembers of them."""

import json

import pytest

from data.verdicts import VerdictsConfig
from data.verdicts import main as write_verdicts
from tests.conftest import RECORDS, SAMPLES, load_records
from tests.rewards.test_verdict import learned
from training.rewards.verdict import FORMS, PAIR_FORM, metadata_of, with_critique
from training.utils.data.record import DataError


def test_rows_show_the_better_answer_in_either_place_with_the_critiques_of_both(tmp_path):
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": ["worse", "best", "bad"]}]
    one = {"id": "1", "conversations": turns, "scores": [2, 3, 1], "critiques": ["meh", "fine", "wrong"]}
    (tmp_path / "ranked.json").write_text(json.dumps([one]))

    def rows(**more):
        output = tmp_path / "rows.jsonl"
        write_verdicts(VerdictsConfig(str(tmp_path / "ranked.json"), str(output), **more))
        return [(row.turns[0].text, row.responses[0]) for row in load_records(output, min_responses=1)]

    first, second = rows(side_by_side=True)
    assert (
        "Answer A:\nbest\n\nAnswer B:\nbad" in first[0] and "Answer A:\nbad\n\nAnswer B:\nbest" in second[0]
    )
    assert first[1] == "Answer A: fine\nAnswer B: wrong\n\nVerdict: A"
    assert second[1] == "Answer A: wrong\nAnswer B: fine\n\nVerdict: B"
    assert [reply for _, reply in rows()] == ["fine\n\nVerdict: Yes", "wrong\n\nVerdict: No"]
    assert [reply for _, reply in rows(side_by_side=True, without_critiques=True)] == ["A", "B"]
    without = {name: value for name, value in one.items() if name != "critiques"}
    (tmp_path / "ranked.json").write_text(json.dumps([one, without | {"id": "2"}]))
    with pytest.raises(DataError, match=r"1 of 2 records have no critique .*\(2\), and others have"):
        rows()


def test_critiques_that_are_too_few_are_refused(tmp_path):
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": ["a", "b"]}]
    (tmp_path / "a.json").write_text(json.dumps([{"conversations": turns, "critiques": ["fine"]}]))
    with pytest.raises(DataError, match=r"`critiques` holds 1 for 2 response\(s\)"):
        load_records(tmp_path / "a.json", min_responses=2)


def test_critiques_of_raters_are_read():
    (told,) = load_records(SAMPLES / "formats" / "vlfeedback.jsonl", SAMPLES, min_responses=2)
    said = "Helpfulness: ...\nVisual Faithfulness: ...\nEthical Considerations: ..."
    assert told.critiques == (said, said)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_model_remembers_which_verdict_it_learned(form, encoder):
    answers = ("one", "two")[: 1 + form.compares]
    critique = "It is so." if form.has_critique else ""
    rows = [
        learned(RECORDS[0], verdict, *answers, form=form, critique=critique)
        for verdict in (form.yes, form.no)
    ]
    found = metadata_of(rows, encoder)["verdict"]
    assert found["text"] == form.text and bool(found["critique_len"]) == form.has_critique
    other = next(each for each in FORMS if each is not form)
    row = learned(RECORDS[0], other.yes, *("one", "two")[: 1 + other.compares], form=other)
    with pytest.raises(
        DataError, match="of 3 records looked at, some ask for one verdict and some for another"
    ):
        metadata_of([*rows, row], encoder)


def test_the_critique_is_what_stands_before_the_last_verdict():
    told = with_critique(PAIR_FORM)
    assert told.critique_in("A is no dog.\n\nVerdict: B") == ("A is no dog.", True)
    assert told.critique_in("x\n\nVerdict: A, no.\n\nVerdict: B") == ("x\n\nVerdict: A, no.", True)
    assert told.critique_in(" A is no") == ("A is no", False)
