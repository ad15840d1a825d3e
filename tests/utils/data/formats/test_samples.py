"""Each way to spell a record, read from its sample, against the value written by hand; and what they share."""

import json
from io import BytesIO

import pytest
from PIL import Image

from tests.conftest import SAMPLES, picture
from training.utils.data.entries import read_entries
from training.utils.data.formats import Spelled, normalise
from training.utils.data.record import DataError, Turn

FIRST, SECOND = "images/00.png", "images/01.png"
MARKED, PLAIN = "<image>\nWhat is in the picture?", "What is in the picture?"
RIGHT, PAIR = "A yellow pentagon.", ["A yellow pentagon.", "A red square."]
CAPTIONED = "<image>\nDescribe the picture in one sentence."


def spelled(*texts, images=(FIRST,), answers=(), id=None, **more) -> Spelled:
    """Texts are turns of user and assistant."""
    turns = [Turn(("user", "assistant")[place % 2], text) for place, text in enumerate(texts)]
    return Spelled(id, list(images), turns, list(answers), **more)


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
    "vlm_r1.jsonl": [spelled("<image>How many sides?", answers=["5"], id=1)],
    "vision_feedback_mix.jsonl": [spelled(MARKED, answers=PAIR, id=0, origin="VLFeedback")],
    "llava_rlhf.json": [spelled(MARKED, answers=PAIR, id="a")],
    "povid.json": [spelled(MARKED, answers=PAIR, id="a")],
    "trl_messages.jsonl": [spelled(f"<image>{PLAIN}", answers=[RIGHT], system="Be brief.")],
    "trl_completion.jsonl": [
        spelled("Name a colour.", images=[], answers=["Red."]),
        spelled(MARKED, answers=[RIGHT]),
    ],
    "trl_unpaired.jsonl": [spelled(PLAIN, answers=["A red square."], scores=(0.0,))],
    "trl_preference.jsonl": [spelled(MARKED, answers=PAIR)],
    "trl_implicit_prompt.jsonl": [spelled(MARKED, answers=PAIR)],
    "trl_prompt.jsonl": [spelled(MARKED)],
    "hh_rlhf.jsonl": [spelled("Name a colour.", images=[], answers=["Red.", "A dog."])],
    "ultrafeedback_binarized.jsonl": [
        spelled("Name a colour.", images=[], answers=["Red.", "A dog."], id="u")
    ],
    "ultrafeedback.jsonl": [
        spelled("Name a colour.", images=[], answers=["A dog.", "Red."], scores=(3.0, 8.5), origin="sharegpt")
    ],
    "vlfeedback.jsonl": [spelled(PLAIN, answers=PAIR[::-1], scores=(3.5, pytest.approx(14 / 3)), id="v")],
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
        spelled("Name a colour.", images=[], answers=["A dog."], scores=(0.0,)),
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


def entry(*texts, **keys) -> dict:
    turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]
    return {"conversations": turns} | keys


def refusal(row: dict, **arguments) -> str:
    with pytest.raises(DataError) as error:
        normalise(row, **arguments)
    return str(error.value)


@pytest.mark.parametrize(
    "key",
    ["image", "images", "Image", "Images", "image_path", "image_paths", "images_path", "image_file", "img", "img_url"]
    + ["imgPath", "IMAGE_URL", "picture", "Photos", "image_name", "image_filename", "pics"],
)  # fmt: skip
def test_pictures_are_found_under_each_name_that_means_them(key):
    assert normalise(entry("<image>?", "A.", **{key: ["a.png"]})).images == ["a.png"]
    assert normalise({"prompt": "?", "chosen": "a", "rejected": "b", key: "a.png"}).images == ["a.png"]


@pytest.mark.parametrize(
    "key", ["images_of_x", "video", "Videos", "video_path", "audio", "image_1", "pixel_values", "screenshot"]
    + ["frames", "tools", "functions", "objects", "bbox", "weight", "loss_weight", "system_of_x", "loss_mask"]
)  # fmt: skip
def test_media_and_structure_that_nobody_reads_are_refused_by_name(key):
    for value in ("a.mp4", ["x"], {"y": ["z"]}):
        assert f"`{key}` is " in refusal(entry("?", "A.", **{key: value}))
    assert normalise(entry("?", "A.", **{key: None})) == normalise(entry("?", "A."))
    assert normalise(entry("?", "A.", **{key: []})) == normalise(entry("?", "A."))


@pytest.mark.parametrize(
    "key", ["weight", "loss", "train", "image", "video", "reasoning_content", "tool_calls"]
)
def test_a_turn_is_looked_at_like_a_record(key):
    row = entry("?", "A.")
    row["conversations"][1][key] = ["x"]
    assert f"turn 1 `{key}` is a list of 1" in refusal(row)


@pytest.mark.parametrize("key", ["image_id", "image_size", "image_width", "num_images", "image_source"])
def test_facts_about_pictures_are_no_pictures(key):
    assert normalise(entry("?", "A.", image="a.png", **{key: 1})).images == ["a.png"]


def test_a_picture_under_a_name_that_nobody_knows_is_seen_by_its_value():
    encoded = BytesIO()
    picture().save(encoded, "PNG")
    for value in (
        "b/a.JPG",
        ["a.png"],
        {"bytes": encoded.getvalue(), "path": None},
        picture(),
        {"deep": ["a.webp"]},
    ):
        assert "looks like a picture under a name that is not known" in refusal(entry("?", "A.", scan=value))
    for value in ("b/a.JPG", [encoded.getvalue()]):  # beside another picture too
        assert "--columns images=scan" in refusal(entry("?", "A.", image="a.png", scan=value))
    assert normalise(entry("?", "A.", note="as in a.png of the book", url="https://x.org/page")).images == []


def test_texts_that_repeat_the_record_lose_nothing_and_turns_under_another_name_are_seen():
    row = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "A."}]}
    for more in ({"prompt": "?"}, {"answer": " A. "}, {"talk": row["messages"]}, {"note": "seen in class"}):
        assert normalise(row | more) == normalise(row)
    assert "`prompt` is 'Why?': it is not used" in refusal(row | {"prompt": "Why?"})
    other = [{"from": "human", "value": "Why?"}]
    assert "`talk` is a list of 1: it looks like turns" in refusal(row | {"talk": other})
    assert "give --columns images=KEY" in refusal(row | {"num_images": 2})


def test_pictures_inside_messages():
    parts = [
        {"type": "image", "image": "a.png"},
        {"type": "image", "url": "file:///data/b.png", "text": None},
        {"type": "input_image", "image_url": "c.png"},
        {"type": "image_url", "image_url": {"url": "d.png", "detail": "high"}},
        {"type": "text", "text": "?"},
    ]
    read = normalise({"prompt": [{"role": "user", "content": parts}]})
    assert read == spelled("<image><image><image><image>?", images=["a.png", "/data/b.png", "c.png", "d.png"])
    for part, message in (
        ({"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}, "nothing is downloaded"),
        ({"type": "image_url", "image_url": None}, "part 0 holds no picture"),
        ({"type": "video", "video": "a.mp4"}, "part 0 has the type 'video'; expected text or image"),
        ({"type": "image", "image": "data:text/html;base64,AAAA"}, "expected data:image/...;base64"),
    ):
        assert message in refusal({"prompt": [{"role": "user", "content": [part]}]})


def test_of_keys_that_name_the_same_picture_the_picture_wins():
    content = b"\x89PNG of some length"
    row = entry(
        "?", "A.", image={"bytes": content, "path": None}, image_path="a.png", image_url="http://x.org/a.png"
    )
    assert normalise(row).images == [content]
    assert normalise(entry("?", "A.", image="a.png", images=["a.png"], img=None, photo="")).images == [
        "a.png"
    ]
    assert "name different pictures" in refusal(entry("?", "A.", image="a.png", images=["b.png"]))
    assert "name different pictures" in refusal(
        entry("?", "A.", image=content, image_path=["a.png", "b.png"])
    )
    assert normalise(entry("?", "A.", image=picture(3))).images == [picture(3)]
    assert isinstance(normalise(entry("?", "A.", image=picture(3))).images[0], Image.Image)


def test_columns_rename_before_a_format_is_chosen():
    row = {
        "talk": [{"speaker": "human", "value": "?"}, {"speaker": "gpt", "value": "A."}],
        "scan": "a.png",
        "note": "b.png",
    }
    columns = {"conversations": "talk", "from": "speaker", "images": "scan", "ignored": "note, other"}
    assert normalise(row, columns) == spelled("?", images=["a.png"], answers=["A."])
    assert "the record has a `prompt` too" in refusal({"prompt": "a", "q": "b"}, columns={"prompt": "q"})
    # In the file's words:
    assert "`scan` is false" in refusal(entry("?", "A.", scan=False), columns={"images": "scan"})


def test_a_message_never_holds_a_whole_picture():
    encoded = "data:image/png;base64," + "A" * 9_000 + "!"
    for row in (
        entry("?", "A.", image=encoded),
        entry("?", "A.", video=encoded),
        entry("?", "A.", scan=encoded),
    ):
        assert len(refusal(row)) < 400
    assert len(refusal(entry("?", {"x": encoded}))) < 400
    assert len(refusal({encoded: 1})) < 800


def test_system_prompts_come_from_a_key_or_the_first_turn():
    for key in ("system", "system_prompt", "System"):
        assert normalise(entry("?", "A.", **{key: "Be brief."})).system == "Be brief."
    developer = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "?"}]
    assert normalise({"prompt": developer}).system == "Be brief."
    assert "two system prompts that differ" in refusal({"prompt": developer, "system": "Be long."})
    assert "`system` is the number 5; expected a text" in refusal(entry("?", "A.", system=5))
    late = entry("?", "A.")
    late["conversations"].append({"from": "system", "value": "Stop."})
    assert "turn 2 is a second or later system prompt" in refusal(late)


def test_coco_names_what_is_wrong_with_a_caption(tmp_path):
    annotations = [{"id": 5, "image_id": 2, "caption": "A."}, {}]
    document = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": annotations}
    (tmp_path / "captions.json").write_text(json.dumps(document))
    lost, empty = read_entries(tmp_path / "captions.json")
    assert "the record has no picture (`image` is empty)" in refusal(lost)
    assert "found the keys none" in refusal(empty)
