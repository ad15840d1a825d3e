"""Converted files are what the loaders read."""

import json

import pytest

from data.convert import ConvertConfig, main
from tests.conftest import load_records, picture
from training.utils.config.arguments import parse_args
from training.utils.data.record import DataError


@pytest.fixture
def source(tmp_path):
    picture().save(tmp_path / "a.png")
    human = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "It."}]
    entries = [
        {
            "id": str(number),
            "image": "a.png",
            "conversations": [*human, {"from": "human", "value": f"And {number}?"}],
            "preference": 1 + number % 2,
            "output_1": {"from": "llava", "value": f"one {number}"},
            "output_2": {"from": "llava", "value": f"two {number}"},
        }
        for number in range(6)
    ]
    file = tmp_path / "source.json"
    file.write_text(json.dumps(entries))
    return file


def test_preferences_put_the_better_answer_first_and_keep_the_turns(source, tmp_path):
    output = tmp_path / "out.json"
    main(parse_args(ConvertConfig, ["preferences", str(source), "--output", str(output), "--num_test", "2"]))
    train = load_records(str(output), str(tmp_path), min_responses=2)
    test = load_records(str(output.with_suffix(".test.json")), str(tmp_path), min_responses=2)
    assert (len(train), len(test)) == (4, 2)
    for record in [*train, *test]:
        better, worse = ("one", "two") if int(record.id) % 2 == 0 else ("two", "one")
        assert record.responses == (f"{better} {record.id}", f"{worse} {record.id}")
        assert [turn.text for turn in record.turns] == ["<image>\nWhat?", "It.", f"And {record.id}?"]


def test_prompts_end_with_the_last_question(source, tmp_path):
    output = tmp_path / "out.json"
    main(parse_args(ConvertConfig, ["prompts", str(source), "--output", str(output)]))
    records = load_records(str(output), str(tmp_path), min_responses=0)
    assert [record.turns[-1].text for record in records] == [f"And {number}?" for number in range(6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preference": 3}, r"\[0\] id=0: `preference` is 3, expected 1 or 2"),
        ({"conversations": []}, r"\[0\] id=0: `conversations` holds no human turn"),
        ({"output_2": {}}, r"\[0\] id=0: lacks 'value'"),
    ],
)
def test_a_bad_entry_is_named(source, tmp_path, change, message):
    entries = json.loads(source.read_text())
    entries[0] |= change
    source.write_text(json.dumps(entries))
    with pytest.raises(DataError, match=message):
        main(parse_args(ConvertConfig, ["preferences", str(source), "--output", str(tmp_path / "out.json")]))
