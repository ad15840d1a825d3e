"""Rows that other projects' users reported, or that were once misread, read right."""

import json

import pytest

from tests.utils.data.formats.rows import chat, pair, talk
from training.utils.data.reader import Reader

WHAT, MARKED = "<image>\nWhat?", "<image>What?"
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAALElEQVR4nO3NMQEAMAjAsLEPd8hGFibgSwU0kdXvsn96BwAAAAAAAAAAAIsNPi"
    "ABYcC/ny4AAAAASUVORK5CYII="
)


def talk_back(text):
    return {"role": "assistant", "content": text}


def read(row, folder, min_responses=0):
    return Reader(min_responses=min_responses).record(row, "rows.json[0]", folder)


GPT = [{"from": "gpt", "value": "A."}, {"from": "gpt", "value": "B."}]
SYSTEM = {"role": "system", "content": "Be brief."}
LABELLED = {"prompt": [{"role": "user", "content": "<image>x?"}], "reward_model": {"ground_truth": "3"}}
ONE = ["a.png"]

# Row; pictures; texts of the prompt's turns; responses; what else the record has.
READ = {
    "Image_key": (talk("What?", "A.", Image="a.png"), ONE, [WHAT], ["A."], {}),
    "answer_has_marker": (
        talk("<image>\nWrite", "![f](<image>).", image="a.png"),
        ONE,
        ["<image>\nWrite"],
        ["![f](<image>)."],
        {},
    ),
    "chosen_dict": (
        pair(chosen={"role": "assistant", "content": "a"}, rejected={"role": "assistant", "content": "b"}),
        [],
        ["hi"],
        ["a", "b"],
        {},
    ),
    "comma_in_list": (talk(MARKED, "A.", image=["b, c.png"]), ["b, c.png"], [MARKED], ["A."], {}),
    "ends_human": (talk("a", "x", "b?"), [], ["a", "x", "b?"], [], {}),
    "history_answer_has_marker": (
        talk(MARKED, "See <image>.", "And?", "Yes.", image="a.png"),
        ONE,
        [MARKED, "See <image>.", "And?"],
        ["Yes."],
        {},
    ),
    "image_dict_path": (
        talk(MARKED, "A.", image={"bytes": None, "path": "a.png"}),
        ONE,
        [MARKED],
        ["A."],
        {},
    ),
    "image_path_key": (talk("What?", "A.", image_path="a.png"), ONE, [WHAT], ["A."], {}),
    "img_url_key": (talk("What?", "A.", image_url="a.png"), ONE, [WHAT], ["A."], {}),
    "label_0": (talk("a?", "x", label=0), [], ["a?"], ["x"], {"label": "0"}),
    "label_bool_pred": (talk("a?", "x", label=True), [], ["a?"], ["x"], {"scores": (1.0,), "label": None}),
    "label_false_sft": (talk("a?", "wrong", label=False), [], ["a?"], ["wrong"], {"scores": (0.0,)}),
    "lf_dpo": (talk(MARKED, image="a.png", chosen=GPT[0], rejected=GPT[1]), ONE, [MARKED], ["A.", "B."], {}),
    "lf_images_key_marker": (talk(MARKED, "A.", images=["a.png"]), ONE, [MARKED], ["A."], {}),
    "lf_images_key_no_marker": (talk("What?", "A.", images=["a.png"]), ONE, [WHAT], ["A."], {}),
    "lf_system_key": (
        talk(MARKED, "A.", image="a.png", system="In French."),
        ONE,
        [MARKED],
        ["A."],
        {"system": "In French."},
    ),
    "ms_swift_rejected": (
        chat(MARKED, rejected_response="B.", images=["a.png"]),
        ONE,
        [MARKED],
        ["A.", "B."],
        {},
    ),
    "nul": (talk("nul \0 char", "x \0 y"), [], ["nul \0 char"], ["x \0 y"], {}),
    "openai_messages": (chat(MARKED, images=["a.png"]), ONE, [MARKED], ["A."], {}),
    "part_image_url": (
        pair(
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "a.png"}},
                        {"type": "text", "text": "hi"},
                    ],
                }
            ],
            images=["a.png"],
        ),
        ONE,
        ["<image>hi"],
        ["a", "b"],
        {},
    ),
    "prompt_null": (pair(None, question="hi?"), [], ["hi?"], ["a", "b"], {}),
    "same_pair_case": (talk("a?", ["x", "X"]), [], ["a?"], ["x", "X"], {}),
    "score_neg_sft": (
        talk("a?", ["good", "bad"], scores=[-3, 5]),
        [],
        ["a?"],
        ["bad", "good"],
        {"scores": (5.0, -3.0)},
    ),
    "system_turn": (
        {"conversations": [{"from": "system", "value": "Be brief."}, *talk("Hi", "Hello.")["conversations"]]},
        [],
        ["Hi"],
        ["Hello."],
        {"system": "Be brief."},
    ),
    "trl_both": (pair("What?", images=[], image="a.png"), ONE, [WHAT], ["a", "b"], {}),
    "trl_image_path": (pair("What?", image_path="a.png"), ONE, [WHAT], ["a", "b"], {}),
    "trl_images_null_image": (
        {"images": None, "image": "a.png", "question": "What?", "chosen": "a", "rejected": "b"},
        ONE,
        [WHAT],
        ["a", "b"],
        {},
    ),
    "trl_system": (
        pair([SYSTEM, {"role": "user", "content": "hi"}]),
        [],
        ["hi"],
        ["a", "b"],
        {"system": "Be brief."},
    ),
    "easyr1_geo3k": (
        {"problem": "<image>x?", "answer": "3", "images": ["a.png"]},
        ONE,
        ["<image>x?"],
        [],
        {"label": "3"},
    ),
    "lf_dpo_nomark": (
        talk("What?", images=["a.png"], chosen=GPT[0], rejected=GPT[1]),
        ONE,
        [WHAT],
        ["A.", "B."],
        {},
    ),
    "openai_url": (
        chat([{"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "text", "text": "What?"}]),
        ONE,
        [MARKED],
        ["A."],
        {},
    ),
    "r1v": (
        {"image": "a.png", "problem": "What?", "solution": "<answer> 3 </answer>"},
        ONE,
        [WHAT],
        [],
        {"label": "3"},
    ),
    "trl_sft": (
        chat(
            [{"type": "image"}, {"type": "text", "text": "What?"}],
            [{"type": "text", "text": "A."}],
            images=["a.png"],
        ),
        ONE,
        [MARKED],
        ["A."],
        {},
    ),
    "verl_rl": (LABELLED | {"images": ["a.png"]}, ONE, ["<image>x?"], [], {"label": "3"}),
}


@pytest.mark.parametrize("case", READ)
def test_a_row_is_read_right(case, folder):
    row, images, texts, responses, more = READ[case]
    record = read(row, folder)
    assert [image.name for image in record.images] == images
    assert [turn.text for turn in record.turns] == texts
    assert record.responses == tuple(responses)
    assert {name: getattr(record, name) for name in more} == more


@pytest.mark.parametrize("image", [PNG, f"data:image/png;base64,{PNG}"], ids=["base64", "datauri"])
def test_a_picture_inside_the_row_stays_compressed(image, folder):
    (content,) = read(talk(MARKED, "A.", image=image), folder).images
    assert (
        isinstance(content, bytes) and content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")
    )


ASKED = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": json.dumps(ASKED), "chosen": "a", "rejected": "b"},
        {"prompt": ASKED, "chosen": json.dumps([talk_back("a")]), "rejected": json.dumps(talk_back("b"))},
        {"chosen": json.dumps([*ASKED, talk_back("a")]), "rejected": json.dumps([*ASKED, talk_back("b")])},
    ],
)
def test_messages_as_a_json_text_are_messages(row, folder):
    """As columns of text in CSV and parquet keep them."""
    record = read(row, folder, 2)
    assert [turn.text for turn in record.turns] == ["q"]
    assert (record.system, record.responses) == ("s", ("a", "b"))


def test_an_answer_in_json_is_an_answer(folder):
    for answer in ('{"value": 3}', '[{"role": "king"}]', "{'role': 'king'}"):
        assert read({"prompt": "q", "completion": answer}, folder).responses == (answer,)
