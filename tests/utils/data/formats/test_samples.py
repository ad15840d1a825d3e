"""Each way to spell a record, read from its sample, against the value written by hand; and what they share."""

import json

import pytest

from tests.conftest import SAMPLES
from training.utils.data.entries import read_entries
from training.utils.data.formats import FORMATS, Spelled, normalise
from training.utils.data.record import DataError, Turn

FIRST, SECOND = "images/00.png", "images/01.png"
MARKED, PLAIN = "<image>\nWhat is in the picture?", "What is in the picture?"
RIGHT, PAIR = "A yellow pentagon.", ["A yellow pentagon.", "A red square."]
CAPTIONED = "<image>\nDescribe the picture in one sentence."


def spelled(*texts, images=(FIRST,), answers=(), id=None, **more) -> Spelled:
    """Texts are turns of user and assistant."""
    turns = [Turn(("user", "assistant")[place % 2], text) for place, text in enumerate(texts)]
    return Spelled(id, list(images), turns, list(answers), **more)


RATIONALES = "Helpfulness: ...\nVisual Faithfulness: ...\nEthical Considerations: ..."
SPELLED = {
    "llava.json": [
        spelled(MARKED, RIGHT, "Which colour?", answers=["Yellow."], id="several-turns"),
        spelled("<image><image>Same?", images=[FIRST, SECOND], answers=["No."], id="system-turn", system="Be brief."),
    ],
    "llava_joined_pictures.json": [
        spelled("<image>\n<image>\nSame?", images=[FIRST, SECOND], answers=["No."], id="one-marker")
    ],
    "llava_flattened.json": [
        spelled("<image>\nWhich shape is it?", "A pentagon.", "Which colour?", answers=["Yellow.", "Red."], id="flat")
    ],
    "cauldron.jsonl": [spelled(PLAIN, answers=[RIGHT])],
    "vlm_r1.jsonl": [spelled("<image>How many sides?", answers=["5"], id=1)],
    "vision_feedback_mix.jsonl": [spelled(MARKED, answers=PAIR, id=0, origin="VLFeedback")],
    "llava_rlhf.json": [spelled(MARKED, answers=PAIR, id="a")],
    "povid.json": [spelled(MARKED, answers=PAIR, id="a")],
    "trl_messages.jsonl": [spelled(f"<image>{PLAIN}", answers=[RIGHT], system="Be brief.")],
    "trl_completion.jsonl": [
        spelled("Name a colour.", images=[], answers=["Red."]),
        spelled(MARKED, answers=[RIGHT]),
    ],
    "trl_unpaired.jsonl": [spelled(PLAIN, answers=["A red square."], desirable=False)],
    "trl_preference.jsonl": [spelled(MARKED, answers=PAIR)],
    "trl_implicit_prompt.jsonl": [spelled(MARKED, answers=PAIR)],
    "trl_prompt.jsonl": [spelled(MARKED)],
    "hh_rlhf.jsonl": [spelled("Name a colour.", images=[], answers=["Red.", "A dog."])],
    "ultrafeedback_binarized.jsonl": [
        spelled("Name a colour.", images=[], answers=["Red.", "A dog."], id="u")
    ],
    "ultrafeedback.jsonl": [
        spelled(
            "Name a colour.",
            images=[],
            answers=["A dog.", "Red."],
            scores=(3.0, 8.5),
            critiques=["...", "..."],
            origin="sharegpt",
        )
    ],
    "vlfeedback.jsonl": [
        spelled(
            PLAIN, answers=PAIR[::-1], scores=(3.5, pytest.approx(14 / 3)), critiques=[RATIONALES] * 2, id="v"
        )
    ],
    "rlaif_v.jsonl": [spelled(PLAIN, answers=PAIR, id=3, origin="LCS-558K")],
    "rlhf_v.jsonl": [spelled(PLAIN, answers=PAIR, id=3, origin="LCS-558K")],
    "mm_rlhf.jsonl": [spelled(PLAIN, answers=PAIR)],
    "openai.jsonl": [
        spelled(f"<image>{PLAIN}", images=[(SAMPLES / FIRST).read_bytes()], answers=[RIGHT]),
        spelled(f"<image>{PLAIN}", answers=[RIGHT]),
    ],
    "llama_factory_sharegpt.json": [spelled(MARKED, answers=[RIGHT], system="Be brief.")],
    "llama_factory_sharegpt_preference.json": [spelled(MARKED, answers=PAIR)],
    "llama_factory_alpaca.json": [
        spelled("Hello.", "Hello!", f"Look.\n{MARKED}", answers=[RIGHT], system="Be brief."),
        spelled("Name a colour.", images=[], answers=["A dog."], desirable=False),
    ],
    "llama_factory_alpaca_preference.json": [spelled("Name a colour.", images=[], answers=["Red.", "A dog."])],
    "ms_swift.jsonl": [spelled(MARKED, answers=PAIR), spelled(MARKED, answers=PAIR)],
    "ms_swift_query.jsonl": [spelled(PLAIN, answers=PAIR)],
    "easyr1.jsonl": [spelled("<image>How many sides?", label="5")],
    "verl.jsonl": [spelled("<image>How many sides?", label="5", origin="geometry3k")],
    "r1_v.jsonl": [spelled("How many sides?", label="5")],
    "captions.jsonl": [spelled(CAPTIONED, answers=[RIGHT])],
    "coco_captions.json": [
        spelled(CAPTIONED, answers=[RIGHT], id=70),
        spelled(CAPTIONED, answers=["A shape with five sides."], id=71),
    ],
    "vl_rewardbench.jsonl": [spelled(PLAIN, answers=PAIR, id="mmmu-1")],
    "multimodal_rewardbench.jsonl": [spelled(PLAIN, answers=PAIR, id="m-1")],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(file.name for file in (SAMPLES / "formats").iterdir()))
def test_each_sample_is_read_as_written_by_hand(name):
    assert [normalise(entry) for entry in read_entries(SAMPLES / "formats" / name)] == SPELLED[name]


def test_the_samples_are_those_that_the_script_writes(tmp_path, monkeypatch):
    from data import make_format_samples

    monkeypatch.setattr(make_format_samples, "FOLDER", tmp_path)
    make_format_samples.main()
    kept = {file.name: file.read_text() for file in (SAMPLES / "formats").iterdir()}
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == kept


def test_the_table_of_formats_names_each_sample_and_all_keys_that_choose():
    table = (SAMPLES.parent / "README.md").read_text()
    assert not [file.name for file in (SAMPLES / "formats").iterdir() if f"`S/{file.name}`" not in table]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    for keys, _ in FORMATS:
        alike = [key for key in keys if key != "conversation"] or ["conversations"]
        assert any(all(f"`{key}`" in row for key in alike) for row in rows), keys


def test_a_caption_beside_a_question_is_no_answer_to_another_question():
    """MM-Instruct's questions, as they are published: `text` asks, `caption` is for the judge."""
    row = {"question_id": 3, "image": "a.jpg", "text": "Write a haiku.", "caption": "A cat.", "category": "x"}
    with pytest.raises(DataError, match="`caption` stands beside `text`, and one of them would be lost"):
        normalise(row)
    found = normalise(row, {"prompt": "text", "ignored": "caption"})
    assert [turn.text for turn in found.turns] == ["Write a haiku."] and not found.responses


def test_coco_names_what_is_wrong_with_a_caption(tmp_path):
    annotations = [{"id": 5, "image_id": 2, "caption": "A."}, {}]
    document = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": annotations}
    (tmp_path / "captions.json").write_text(json.dumps(document))
    lost, empty = read_entries(tmp_path / "captions.json")
    with pytest.raises(DataError, match=r"the record has no picture \(`image` is empty\)"):
        normalise(lost)
    with pytest.raises(DataError, match="found the keys none"):
        normalise(empty)
