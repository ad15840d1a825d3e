"""Captions in the place of images, and records drawn from files."""

import json

import pytest

from data.caption_preferences import CaptionConfig, captioned, main, read_captions
from data.draw import DrawConfig
from data.draw import main as draw
from tests.conftest import load_records
from training.utils.data.formats import normalise
from training.utils.data.record import DataError


def entry(image, *turns, **more) -> dict:
    conversations = [{"from": ("human", "gpt")[i % 2], "value": turn} for i, turn in enumerate(turns)]
    return {"id": "a", "image": image, "conversations": conversations} | more


def values(record: dict) -> list:
    return [turn["value"] for turn in record["conversations"]]


@pytest.mark.parametrize(
    "question, expected",
    [
        ("<image>\nWhat is it?", "A cat.\nWhat is it?"),
        ("What is it? <image>", "What is it? A cat."),
        ("What is it?", "A cat.\nWhat is it?"),  # an image without a marker stands in front
    ],
)
def test_a_caption_stands_where_the_image_stood(question, expected):
    record = captioned(normalise(entry("1.png", question, ["good", "bad"])), {"1.png": "A cat."})
    assert record == {
        "id": "a-captioned",
        "conversations": [
            {"from": "human", "value": expected},
            {"from": "gpt", "value": ["good", "bad"]},
        ],
    }


def test_images_of_several_turns_get_their_own_captions():
    record = entry("1.png, 2.png", "<image> See?", "Yes.", "And <image>?", ["good", "bad"])
    captions = {"1.png": "One.", "2.png": "Two."}
    assert values(captioned(normalise(record), captions)) == [
        "One. See?",
        "Yes.",
        "And Two.?",
        ["good", "bad"],
    ]


def test_an_id_names_a_caption_too_and_a_record_without_images_stays():
    named = captioned(normalise(entry("1.png", "Why?", ["good", "bad"])), {"a": "A cat."})
    assert values(named)[0] == "A cat.\nWhy?"
    assert values(captioned(normalise(entry(None, "Why?", ["good", "bad"])), {}))[0] == "Why?"
    row = {"id": 7, "question": "Why?", "chosen": "good", "rejected": "bad", "image": "1.png"}
    assert values(captioned(normalise(row), {"7": "A cat."})) == ["A cat.\nWhy?", ["good", "bad"]]


def test_scores_that_rank_the_answers_and_a_system_prompt_stay():
    record = entry("1.png", "?", ["bad", "good"], scores=[0.0, 2.0], system="Be brief.")
    kept = captioned(normalise(record), {"1.png": "A cat."})
    assert (kept["scores"], kept["system"]) == ([0.0, 2.0], "Be brief.")
    again = normalise(kept)
    assert (again.responses, again.scores, again.system) == (["bad", "good"], (0.0, 2.0), "Be brief.")


def test_what_does_not_fit_is_named():
    with pytest.raises(DataError, match="no caption for 1.png or a"):
        captioned(normalise(entry("1.png", "Why?", ["good", "bad"])), {"2.png": "A cat."})
    with pytest.raises(DataError, match=r"found 2 <image> marker\(s\) for 1 image"):
        captioned(normalise(entry("1.png", "<image> <image>", ["good", "bad"])), {"1.png": "A cat."})


def test_a_file_is_converted_with_the_first_caption_that_is_known(tmp_path):
    files = {"human.json": {"1.png": "By hand."}, "model.json": {"1.png": "By model.", "2.png": "Two."}}
    for name, captions in files.items():
        (tmp_path / name).write_text(json.dumps(captions))
    pairs = tmp_path / "pairs.json"
    pairs.write_text(json.dumps([entry(image, "<image>", ["y", "n"]) for image in ("1.png", "2.png")]))
    output = tmp_path / "captioned.json"
    main(CaptionConfig(str(pairs), [str(tmp_path / name) for name in files], str(output)))
    records = load_records(str(output), None, min_responses=2)
    assert [record.turns[0].text for record in records] == ["By hand.", "Two."]
    assert not any(record.images for record in records)
    pairs.write_text(json.dumps([entry("3.png", "<image>", ["y", "n"])]))
    with pytest.raises(DataError, match=r"pairs.json\[0\] id=a: no caption for 3.png"):
        main(CaptionConfig(str(pairs), [str(tmp_path / "human.json")], str(output)))


def test_records_are_drawn_from_each_file_once_and_by_the_seed(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(json.dumps([{"id": f"{name}{i}"} for i in range(20)]))
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]

    def drawn(seed: int) -> list[str]:
        draw(DrawConfig(files, [5, 100], str(tmp_path / "out.json"), seed))
        return [record["id"] for record in json.loads((tmp_path / "out.json").read_text())]

    once = drawn(0)
    assert len(once) == len(set(once)) == 25 and sum(name[0] == "a" for name in once) == 5
    assert drawn(0) == once != drawn(1)
    assert once != sorted(once, key=lambda name: name[0])  # mixed
    with pytest.raises(DataError, match="found 1, expected one for each of 2"):
        draw(DrawConfig(files, [5], str(tmp_path / "out.json")))


def test_captions_of_coco_are_read_by_the_name_of_the_image(tmp_path):
    file = tmp_path / "captions_train2014.json"
    images = [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg"}]
    annotations = [
        {"image_id": 9, "id": 1, "caption": "Bins of food.\n"},
        {"image_id": 9, "id": 2, "caption": "Another."},
    ]
    file.write_text(json.dumps({"images": images, "annotations": annotations}))
    captions = read_captions(file)
    for image in ("000000000009.jpg", "coco/train2017/000000000009.jpg", "COCO_train2014_000000000009.jpg"):
        record = captioned(normalise(entry(image, "Why?", ["good", "bad"])), captions)
        assert values(record)[0] == "Bins of food.\nWhy?"
    # Only COCO's are known by a bare name.
    with pytest.raises(DataError, match="no caption for other/1.png"):
        captioned(normalise(entry("other/1.png", "Why?", ["good", "bad"])), {"1.png": "A cat."})


@pytest.mark.parametrize("content", ["[1]", '{"a": 1}', "nothing", '{"annotations": [1]}', None])
def test_what_is_no_captions_file_is_one_line(content, tmp_path):
    file = tmp_path / "captions.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(DataError, match="--captions .*captions.json: "):
        read_captions(file)
