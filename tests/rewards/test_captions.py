"""Captions that a reward model reads below the question, and the policy does not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import RECORDS, SAMPLES
from tests.ppo.test_rewards import settings_of
from training.rewards.models import captions_for
from training.rewards.rendering import model_reward
from training.utils.data.captions import captioned
from training.utils.data.loader import Collator
from training.utils.data.reader import Reader
from training.utils.data.record import DataError, Turn
from training.utils.files.model_folder import METADATA_FILE
from training.utils.model.build_model import build_value_model

ASKED = (Turn("user", "<image>\nWhat?"),)
FACTS = "<image>\nWhat?\nWhat is known of the picture:\n- A dog.\n- A puppy with a ball."


@pytest.fixture
def rows(tmp_path):
    """Captions by the ids of records."""
    file = tmp_path / "captions.jsonl"
    rows = [
        {"id": "r-0", "captions": ["A dog.", "A puppy with a ball."]},
        {"id": "r-1-2", "caption": "Two cats."},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_captions_are_found_by_id_by_name_and_by_cocos_number(rows, tmp_path):
    assert captioned(ASKED, "r-0", [Path("x.png")], rows) == (Turn("user", FACTS),)
    coco = {
        "images": [],
        "annotations": [{"image_id": 7, "caption": c} for c in ("A dog.", "A puppy with a ball.")],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    by_number = [Path("COCO_train2014_000000000007.jpg")]
    assert captioned(ASKED, "?", by_number, str(tmp_path / "coco.json")) == (Turn("user", FACTS),)
    (tmp_path / "named.json").write_text(json.dumps([{"image": "dog.png", "caption": "A dog."}]))
    (turn,) = captioned(ASKED, "?", [Path("some/dog.png")], f"{rows} {tmp_path / 'named.json'}")
    assert turn.text == FACTS.removesuffix("\n- A puppy with a ball.")
    assert captioned(ASKED, "r-0", [Path("x.png")], "") == ASKED == captioned(ASKED, "r-0", [], rows)


def test_an_id_that_looks_like_a_number_of_coco_is_none(rows, tmp_path):
    """A record without an id has its place as one."""
    coco = {"images": [], "annotations": [{"image_id": 9, "caption": "A dog."}]}
    coco["annotations"].append({"image_id": 581929, "caption": "A cat."})
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    files = str(tmp_path / "coco.json")
    (turn,) = captioned(ASKED, "9", [Path("COCO_train2014_000000581929.jpg")], files)
    assert turn.text.endswith("of the picture:\n- A cat.")
    with pytest.raises(DataError, match=r"none of its picture \(9, 000000000007.jpg, 7\)"):
        captioned(ASKED, "9", [Path("000000000007.jpg")], files)
    (tmp_path / "rows.json").write_text(json.dumps([{"id": 7, "caption": "A cat."}]))
    with pytest.raises(DataError, match="none of its picture"):
        captioned(ASKED, "x", [Path("000000000007.jpg")], str(tmp_path / "rows.json"))


def test_captions_of_several_files_add_up(tmp_path):
    files = [tmp_path / f"{number}.json" for number in (1, 2)]
    for file, caption in zip(files, ("A dog.", "A puppy with a ball."), strict=True):
        coco = {"images": [], "annotations": [{"image_id": 7, "caption": caption}]}
        file.write_text(json.dumps(coco))
    of_both = " ".join(map(str, files))
    assert captioned(ASKED, "?", [Path("COCO_train2014_000000000007.jpg")], of_both) == (Turn("user", FACTS),)


def test_a_picture_without_captions_is_told(rows, tmp_path):
    with pytest.raises(DataError, match=r"--captions holds none of its picture \(r-9, x9.png, 9\)"):
        captioned(ASKED, "r-9", [Path("x9.png")], rows)
    with pytest.raises(DataError, match="none.json: no such file"):
        captioned(ASKED, "r-9", [Path("x9.png")], str(tmp_path / "none.json"))
    row = {"id": "r-0", "image": "images/00.png", "prompt": "What?", "chosen": "A dog.", "rejected": "A cat."}
    record = Reader(2, captions=rows).record(row, "rows.json[0]", SAMPLES)
    assert record.turns == (Turn("user", FACTS),)
    unnamed = {
        key: value for key, value in row.items() if key != "id"
    }  # its place is no id of a row of captions
    with pytest.raises(DataError, match=r"none of its picture \(00.png, 0\)"):
        Reader(2, captions=rows).record(unnamed, "rows.json[r-0]", SAMPLES)


@pytest.fixture
def scores(tiny_llava, encoder, taste):
    """Of records by the reward model itself."""
    model = build_value_model(settings_of(taste), taste, encoder.family, trainable=False, needs_head=True)

    def of(records):
        batch = Collator(encoder, has_images=True)(encoder.encode_all(records))
        return model(batch, batch.last_token)

    return model, of


@torch.no_grad()
def test_a_reward_model_scores_as_if_the_prompts_held_the_captions(scores, encoder, rows):
    model, of = scores
    records = [replace(record, images=record.images) for record in RECORDS]
    trees = encoder.encode_all(records)
    batch = Collator(encoder, has_images=True)(trees)
    found = model_reward(model, encoder, encoder, has_images=True, captions=rows)(trees, batch)
    lines = {"r-0": "- A dog.\n- A puppy with a ball.", "r-1-2": "- Two cats."}
    told = []
    for record in records:
        last = record.turns[-1]
        if record.id in lines:
            last = replace(last, text=f"{last.text}\nWhat is known of the picture:\n{lines[record.id]}")
        told.append(replace(record, turns=(*record.turns[:-1], last)))
    torch.testing.assert_close(found, of(told), atol=1e-5, rtol=1e-5)
    plain = model_reward(model, encoder, encoder, has_images=True)(trees, batch)
    assert not torch.isclose(found, plain)[:3].any()


def test_a_reward_model_keeps_in_mind_whether_it_reads_captions(tiny_llava, tmp_path, rows):
    model = tmp_path / "rm"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).symlink_to(tiny_llava / name)
    assert captions_for(str(model), rows) == rows and captions_for(str(model), "") == ""
    (model / METADATA_FILE).write_text(json.dumps({"template": "auto", "captions": False}))
    assert captions_for(str(model), rows) == ""
    (model / METADATA_FILE).write_text(json.dumps({"template": "auto", "captions": True}))
    assert captions_for(str(model), rows) == rows
    with pytest.raises(DataError, match="was trained to read captions of the pictures; expected --captions"):
        captions_for(str(model), "")
