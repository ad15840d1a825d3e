"""What all formats share: where pictures and system prompts stand, and which keys are refused by name."""

from io import BytesIO

import pytest
from PIL import Image

from tests.conftest import picture
from training.utils.data.formats import Spelled, normalise
from training.utils.data.record import DataError, Turn


def spelled(text: str, images=(), answers=()) -> Spelled:
    return Spelled(None, list(images), [Turn("user", text)], list(answers))


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
    + ["mask", "training", "assistant_masks", "chat_template_kwargs"]
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


@pytest.mark.parametrize("key", ["weight", "loss", "train", "training", "mask"])
def test_a_turn_that_should_not_be_learned_is_seen_by_a_number_too(key):
    row = entry("?", "A.")
    row["conversations"][1][key] = 0
    assert f"turn 1 `{key}` is the number 0: it would change what is learned" in refusal(row)


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
    assert read == spelled("<image><image><image><image>?", ["a.png", "/data/b.png", "c.png", "d.png"])
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
    assert normalise(row, columns) == spelled("?", ["a.png"], ["A."])
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
