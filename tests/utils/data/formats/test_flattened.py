"""Turns that a converter of another project has written into one text."""

import pytest

from training.utils.data.formats import Spelled, normalise
from training.utils.data.record import DataError, Turn


def entry(question: str, answer: object) -> dict:
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}


FLATTENED = {
    "llama_3": "q<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\na<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nr",
    "llama_2": "q [/INST] a </s><s>[INST] r",
    "llama_2, whole": "<s>[INST] q [/INST] a </s><s>[INST] r [/INST]",
    "vicuna, whole": "USER: q ASSISTANT: a</s>USER: r ASSISTANT:",
    "hh-rlhf": "\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant:",
    "mistral": "q[/INST]a </s>[INST]r",
    "vicuna": "qASSISTANT: a</s>USER: r",
    "default": "q\n\n### Answer:\na\n\n### Question:\nr",
    "chatml": "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nr<|im_end|>\n"
    "<|im_start|>assistant\n",
}


@pytest.mark.parametrize("text", FLATTENED.values(), ids=FLATTENED)
def test_turns_that_a_converter_wrote_into_one_text_are_turns_again(text):
    assert normalise(entry(text, ["x", "y"])) == Spelled(
        None, [], [Turn("user", "q"), Turn("assistant", "a"), Turn("user", "r")], ["x", "y"]
    )


@pytest.mark.parametrize(
    "text",
    [
        "a<|start_header_id|>user<|end_header_id|>b",
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n",
        "a [/INST] b [/INST] c </s><s>[INST] d",
        "[INST] <<SYS>>\ns\n<</SYS>>\n\nq [/INST]",
        "A chat. USER: q ASSISTANT: a</s>USER: r ASSISTANT:",
    ],
)
def test_markers_of_a_template_that_make_no_turns_are_refused(text):
    with pytest.raises(DataError, match="holds the markers of a template"):
        normalise(entry(text, "A."))


@pytest.mark.parametrize("text", ["[INST] q [/INST]", "USER: q ASSISTANT:", "Human: q\n\nAssistant:"])
def test_one_question_between_markers_is_the_question_alone(text):
    assert normalise(entry(text, "A.")).turns == [Turn("user", "q")]


@pytest.mark.parametrize(
    "text",
    [
        "A chat. USER: q ASSISTANT:",
        "<start_of_turn>user\nq<end_of_turn>\n<start_of_turn>model\n",
        "<|user|>\nq<|end|>\n<|assistant|>\n",
        "Below is an instruction.\n\n### Instruction:\nq\n\n### Response:",
    ],
)
def test_a_prompt_that_a_template_was_filled_with_is_refused(text):
    with pytest.raises(DataError, match="where a template begins an answer; write the question alone"):
        normalise(entry(text, "A."))


def test_words_that_a_template_may_have_stay_words():
    for text in (
        "Strike <s>this</s> out, ASSISTANT: please",
        "What is [/INST]?",
        "See\n\n### Answer:\nB",
        "</s>",
    ):
        assert normalise(entry(text, "A.")).turns == [Turn("user", text)]
    dialogue = "\n\nHuman: a\n\nAssistant: b"
    row = {"prompt": "Write a dialogue.", "chosen": dialogue, "rejected": "c"}
    assert normalise(row).responses == [dialogue, "c"]
