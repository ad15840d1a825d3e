"""Rows and files that other projects' users reported, refused by what is wrong."""

import json

import pytest

from tests.utils.data.formats.rows import pair, talk
from training.utils.data.entries import read_entries
from training.utils.data.reader import Reader
from training.utils.data.record import DataError

MARKED = "<image>What?"
GPT_FIRST = [{"from": "gpt", "value": "A."}]


def read(row, folder, min_responses=0):
    return Reader(min_responses=min_responses).record(row, "rows.json[0]", folder)


# Row; what the one message says; responses that the stage needs.
REFUSED = {
    "chosen_null": (pair(chosen=None), r"`rejected` is 'b': it is not used .* \(null: chosen\)", 0),
    "comma_in_name": (talk(MARKED, "A.", image="b, c.png"), "image 'b' is not in", 0),
    "content_null_tool": (
        pair([{"role": "user", "content": "hi"}], [{"role": "assistant", "content": None, "tool_calls": []}]),
        r"`chosen`\[0\] has no `value` or `content`, and calls a tool",
        0,
    ),
    "conv_and_pairs": (
        talk(MARKED, "old", image="a.png", chosen="A.", rejected="B."),
        "ends with an answer beside `chosen` and `rejected`",
        0,
    ),
    "from_list": (
        {"conversations": [{"from": ["human"], "value": "x"}]},
        "turn 0 `from` is a list of 1; expected a text",
        0,
    ),
    "gpt_first": (
        {"conversations": [*GPT_FIRST, *talk("a?", "b")["conversations"]]},
        "turn 0 is from 'gpt', expected human",
        0,
    ),
    "image_false": (talk("What?", "A.", image=False), "`image` is false; expected a path", 0),
    "image_list_null": (talk(MARKED, "A.", image=[None, "a.png"]), "`image` holds an empty entry", 0),
    "image_number": (talk(MARKED, "A.", image=5), "`image` is the number 5; expected a path", 0),
    "part_is_str": (
        pair([{"role": "user", "content": ["hi"]}]),
        r"`prompt`\[0\] part 0 is 'hi'; expected an object",
        0,
    ),
    "part_without_type": (
        pair([{"role": "user", "content": [{"text": "hi"}]}]),
        r"`prompt`\[0\] part 0 `type` is missing",
        0,
    ),
    "same_pair_space": (talk("a?", ["x", "x "]), "two responses are the same", 2),
    "score_dict": (
        talk("a?", "x", score={"v": 1}),
        "`score` is an object with the keys v; expected a number",
        0,
    ),
    "score_nan": (
        talk("a?", ["x", "y"], scores=[0.1, float("nan")]),
        r"`scores`\[1\] is nan; expected a finite number",
        0,
    ),
    "score_inf": (talk("a?", "x", score=float("inf")), "`score` is inf; expected a finite number", 0),
    "score_null": (talk("a?", ["x", "y"], scores=[1, None]), r"`scores`\[1\] is null; expected a number", 0),
    "score_str": (
        talk("a?", ["x", "y"], scores=["high", "low"]),
        r"`scores`\[0\] is 'high'; expected a number",
        0,
    ),
    "surrogate": (
        talk("bad \ud83d emoji", "x"),
        r"turn 0 text holds half a surrogate pair \(\\ud83d\) at character 4",
        0,
    ),
    "surrogate_answer": (talk("a?", "bad \ud83d"), "turn 1 text holds half a surrogate pair", 0),
    "text_only_user_marker": (
        talk("Explain the <image> tag", "A."),
        "holds <image> and the record has no picture; give the picture, or write",
        0,
    ),
    "two_humans": (
        {"conversations": [*talk("a")["conversations"], *talk("b?", "c")["conversations"]]},
        "turn 1 is from 'human', expected gpt: turns alternate",
        0,
    ),
    "trl_two_users": (
        pair([{"role": "user", "content": "a"}] * 2),
        r"`prompt`\[1\] is from 'user', expected assistant",
        0,
    ),
    "url": (
        talk(MARKED, "A.", image="https://example.com/a.png"),
        "`image` is 'https://example.com/a.png': nothing is downloaded",
        0,
    ),
    "value_int": (talk("1+1?", 2), "turn 1 is the number 2; expected a text", 0),
    "video_key": (
        talk("<video>\nWhat?", "A.", video="x.mp4"),
        "`video` is 'x.mp4': no model here takes video",
        0,
    ),
    "video_key_no_marker": (
        talk("What?", "A.", video="x.mp4"),
        "`video` is 'x.mp4': no model here takes video",
        0,
    ),
    "video_marker": (talk("<video>\nWhat?", "A."), "a user turn holds <video>: no model here takes video", 0),
    "system_object": (
        talk("a", "b", system={"x": 1}),
        "`system` is an object with the keys x; expected a text",
        0,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_row_is_refused_by_what_is_wrong(case, folder):
    row, message, min_responses = REFUSED[case]
    with pytest.raises(DataError, match=message):
        read(row, folder, min_responses)


GOOD = talk("a", "x", id="q")
FILES = {
    "pretty": (json.dumps(GOOD, indent=1).encode(), ["q"]),
    "wrapped": (json.dumps({"data": [GOOD, GOOD]}).encode(), ["q", "q"]),
    "ids_dup": (json.dumps([GOOD, GOOD]).encode(), ["q", "q"]),
    "emptylist": (b"[]", []),
    "empty": (b"", []),
    "utf16": (json.dumps([GOOD]).encode("utf-16"), "is UTF-16; expected UTF-8"),
    "latin1": ('[{"id": "caf\xe9"}]'.encode("latin-1"), "is no UTF-8 behind line 1"),
    "trailing": (b'[{"conversations":[]},]', "does not parse as JSON at line 1"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_of_any_shape_is_read_or_refused(case, folder):
    content, expected = FILES[case]
    file = folder / f"{case}.json"
    file.write_bytes(content)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            list(read_entries(file))
    else:
        assert [read(entry, folder).id for entry in read_entries(file)] == expected


@pytest.mark.parametrize(
    "mark",
    [
        "<img>a.png</img>",
        "<|image_1|>",
        "<|image|>",
        "<|vision_start|><|image_pad|><|vision_end|>",
        "<image 1>",
    ]
    + ["<image_1>", "<ImageHere>", "<image_placeholder>", "<IMAGE>"],
)
def test_marks_of_a_picture_in_other_spellings_are_no_words(mark, folder):
    for more in ({}, {"image": "a.png"}):
        with pytest.raises(
            DataError, match="another project's mark of a picture; write <image> in its place"
        ):
            read(talk(f"{mark}\nWhat?", "A.", **more), folder)
    assert len(read(talk(f"<image>\nWhat is {mark}?", "A.", image="a.png"), folder).images) == 1
    assert read(talk("What is <img>?", f"{mark}"), folder).responses == (mark,)


def test_messages_as_python_shows_them_are_refused(folder):
    row = {"prompt": "q", "chosen": str([{"role": "assistant", "content": "a"}]), "rejected": "b"}
    with pytest.raises(DataError, match="`chosen` is .* messages that are no JSON; write them by json.dumps"):
        read(row, folder)
