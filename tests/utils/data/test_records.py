"""Records: what is accepted, and the one message that each kind of bad input gets."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SAMPLES, load_records, picture
from training.utils.data.images import open_image
from training.utils.data.record import DataError
from training.utils.data.records import Records, split


def turns(*values):
    return [{"from": ("human", "gpt")[i % 2], "value": value} for i, value in enumerate(values)]


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    picture().save(images / "good.png")
    picture().save(images / "other.png")
    (images / "empty.png").touch()
    (images / "text.png").write_text("no picture")
    (images / "cut.png").write_bytes((images / "good.png").read_bytes()[:-200])
    Image.new("RGB", (2, 900)).save(images / "line.png")
    picture().save(tmp_path / "outside.png")
    return tmp_path


def load(folder, *entries, text=None, min_responses=1, **more):
    file = folder / "data.json"
    file.write_text(json.dumps(entries) if text is None else text)
    return load_records(str(file), str(folder / "images"), min_responses=min_responses, **more)


def one(image="good.png", values=("<image>\nWhat?", "A dog."), **more):
    return {"id": "a7", "image": image, "conversations": turns(*values)} | more


BAD = {
    "JSON that does not parse": (None, 1, r"data\.json: does not parse as JSON at line 2"),
    "missing keys": ({"id": "a7", "text": "x"}, 1, "found the keys id, text; expected `conversations`"),
    "no object": (["x"], 1, "found list, expected a JSON object"),
    "two humans in a row": (
        one() | {"conversations": [*turns("a"), {"from": "human", "value": "b"}]},
        1,
        "turn 1 is from 'human', expected gpt: turns alternate",
    ),
    "no answer": (one(values=("<image>\nWhat?",)), 1, r"found 0 response\(s\), expected at least 1"),
    "an empty list of answers": (one(values=("What?", [])), 1, "the list of responses is empty"),
    "one candidate": (one(values=("What?", ["A dog."])), 2, r"found 1 response\(s\), expected at least 2"),
    "the same candidate twice": (one(values=("What?", ["A dog.", "A dog."])), 2, "two responses are the same"),
    "an empty candidate": (one(values=("What?", ["A dog.", " "])), 2, "a response is empty"),
    "a missing image": (one("none.png"), 1, "image 'none.png' is not in .*set --image_folder"),
    "an empty file": (one("empty.png"), 1, "empty.png' is an empty file; replace it"),
    "a cut-off image": (one("cut.png"), 1, "cut.png' can't be decoded"),
    "no image at all": (one("text.png"), 1, "text.png' is not a picture that Pillow can read"),
    "a line of pixels": (one("line.png"), 1, "line.png' has 2 x 900 pixels; expected a long side of at most 200"),
    "a path outside": (one("../outside.png"), 1, "lies outside .*expected a path inside --image_folder"),
    "too many markers": (one(values=("<image><image>", "A.")), 1, r"found 2 <image> marker\(s\) for 1 image\(s\)"),
    "too few markers": (
        one(["good.png", "other.png"]), 1, r"found 1 <image> marker\(s\) for 2 image\(s\); expected one for each"
    ),
    "an empty question": (one(None, values=("", "A.")), 1, "a human turn is empty"),
    "scores that do not fit": (one(scores=[1, 2]), 1, r"found 2 score\(s\) for 1 response\(s\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_message_that_says_where_and_what_to_do(case, folder):
    entry, min_responses, message = BAD[case]
    with pytest.raises(DataError, match=message) as error:
        if entry is None:
            load(folder, text='[\n{"id": 1,]')
        else:
            load(folder, one(), entry, min_responses=min_responses if min_responses < 2 else 1)
            load(folder, entry, min_responses=min_responses)
    if entry is not None:
        assert "data.json[" in str(error.value)
    if isinstance(entry, dict):
        assert "id=a7" in str(error.value)


@pytest.mark.parametrize("share", [0.1, 0.8])  # Pillow raises an error only beyond twice the limit
def test_a_decompression_bomb_is_refused(share, folder, monkeypatch):
    bomb = picture(3)
    limit = int(share * bomb.width * bomb.height)
    bomb.save(folder / "images" / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match=f"bomb.png' has more than {limit:,} pixels; make it smaller"):
        load(folder, one("bomb.png"))


def test_skipping_lists_each_bad_record(folder, caplog):
    with caplog.at_level(logging.WARNING):
        records = load(folder, one(), one("none.png"), one("empty.png"), on_bad_record="skip")
    assert len(records) == 1
    assert (
        "skipped 2 of 3 records" in caplog.text and "none.png" in caplog.text and "empty.png" in caplog.text
    )


def test_no_usable_record_is_an_error_even_when_skipping(folder):
    with pytest.raises(DataError, match="no usable record among 1"):
        load(folder, one("none.png"), on_bad_record="skip")


@pytest.mark.parametrize(
    ("image", "question", "expected", "count"),
    [
        ("good.png", "What?", "<image>\nWhat?", 1),
        ("good.png", "What <image> is it?", "What <image> is it?", 1),
        ("good.png,other.png", "What?", "<image>\n<image>\nWhat?", 2),
        (["good.png", "other.png"], "<image> or <image>?", "<image> or <image>?", 2),
        (None, "What?", "What?", 0),
        ("", "What?", "What?", 0),
    ],
)
def test_images_stand_where_their_markers_do_and_in_front_without_any(
    folder, image, question, expected, count
):
    (record,) = load(folder, one(image, values=(question, "A dog.")))
    assert record.turns[0].text == expected
    assert len(record.images) == count


def test_a_conversation_is_a_prompt_with_the_last_answer_as_response(folder):
    (record,) = load(
        folder, one(values=("<image>a", "b", "c", ["d", "e", "f"])), min_responses=2, max_responses=2
    )
    assert [(turn.role, turn.text) for turn in record.turns] == [
        ("user", "<image>a"),
        ("assistant", "b"),
        ("user", "c"),
    ]
    assert record.responses == ("d", "e")


def test_prompts_need_no_answer(folder):
    records = load(folder, one(values=("<image>a",)), one(values=("<image>a", "")), min_responses=0)
    assert [record.responses for record in records] == [(), ()]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "arrow"])
def test_preference_columns_of_the_datasets_library(folder, suffix):
    import datasets

    message = {"role": "user", "content": "What is it?"}
    rows = {
        "images": [["good.png"]],
        "prompt": [[message]],
        "chosen": [[{"role": "assistant", "content": "A dog."}]],
        "rejected": [[{"role": "assistant", "content": "A cat."}]],
    }
    table = datasets.Dataset.from_dict(rows)
    path = folder / f"data.{suffix}"
    if suffix == "arrow":
        table.save_to_disk(str(path))
    elif suffix == "parquet":
        table.to_parquet(str(path))
    else:
        path.write_text(json.dumps({name: column[0] for name, column in rows.items()}) + "\n")
    (record,) = load_records(str(path), str(folder / "images"), min_responses=2)
    assert record.turns[0].text == "<image>\nWhat is it?"
    assert record.responses == ("A dog.", "A cat.")


def test_rlaif_v_columns_with_images_inside(folder):
    import datasets

    table = datasets.Dataset.from_dict(
        {"question": ["What?"], "chosen": ["A dog."], "rejected": ["A cat."], "image": [picture()]},
        features=datasets.Features(
            question=datasets.Value("string"),
            chosen=datasets.Value("string"),
            rejected=datasets.Value("string"),
            image=datasets.Image(),
        ),
    )
    table.to_parquet(str(folder / "data.parquet"))
    (record,) = load_records(str(folder / "data.parquet"), None, min_responses=2)
    assert record.responses == ("A dog.", "A cat.") and open_image(record.images[0]).size == (40, 30)


def test_the_split_is_whole_disjoint_and_the_same_each_time(folder):
    records = load(folder, *(one() | {"id": str(i)} for i in range(10)))
    train, held_out = split(records, 0.8, seed=3)
    assert [list(part) for part in split(records, 0.8, seed=3)] == [list(train), list(held_out)]
    assert len(train) == 8
    assert sorted(r.id for r in [*train, *held_out]) == sorted(r.id for r in records)


@pytest.mark.parametrize(
    ("records", "train"), [(100, 90), (20_000, 18_000), (20_010, 18_010), (10**6, 998_000)]
)
def test_never_more_than_2000_records_are_held_out(records, train):
    places = Records(None, None, np.arange(records), np.zeros(records))
    assert tuple(map(len, split(places, 0.9, seed=0))) == (train, records - train)


@pytest.mark.parametrize("file", sorted(SAMPLES.glob("*.json*")), ids=lambda file: file.name)
def test_the_samples_load(file):
    assert load_records(str(file), None, min_responses=0)
