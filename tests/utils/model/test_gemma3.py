"""Gemma 3's prompts: line breaks around an image are joined with those of the text, as its vocabulary has them."""

import pytest

from tests.conftest import picture, record
from tests.tiny_families import build_tiny
from tests.utils.model.test_families import messages
from training.utils.data.encode import Encoder
from training.utils.data.record import DataError
from training.utils.model.gemma3 import Gemma3

# What Gemma 3's own template writes.
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<start_of_image>{% else %}{{ part['text'] | trim }}{% endif %}"
    "{% endfor %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PROMPTS = {
    "front": ["<image>What is this?"],
    "line": ["<image>\nWhat is this?"],
    "middle": ["Look: <image> what is it?"],
    "behind": ["What is this?\n<image>"],
    "two": ["<image><image>\nWhich of them?"],
    "apart": ["<image> or <image>"],
    "turns": ["<image>What is this?", "A star.", "And <image>\nthis?", "A cat.", "Why?"],
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    family = Gemma3()
    processor = family.load_processor(str(build_tiny("gemma3", tmp_path_factory.mktemp("gemma") / "3")))
    processor.tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]}
    )
    processor.chat_template = TEMPLATE
    return Encoder(processor, family, "auto", max_seq_len=512)


@pytest.mark.parametrize("turns", PROMPTS.values(), ids=PROMPTS)
def test_token_ids_are_those_of_its_own_processor(turns, encoder):
    *history, question = turns
    images = [picture(number) for number in range("".join(turns).count("<image>"))]
    one = record(question, images=tuple(range(len(images))), history=tuple(history))
    text = encoder.processor.apply_chat_template(messages(one), tokenize=False, add_generation_prompt=True)
    expected = encoder.processor(text=text, images=images, add_special_tokens=False, return_tensors="pt")
    assert encoder.encode(one).prompt_ids == expected["input_ids"][0].tolist()


def test_pictures_in_crops_are_refused(tmp_path):
    folder = build_tiny("gemma3", tmp_path)
    processor = Gemma3().load_processor(str(folder))
    processor.image_processor.do_pan_and_scan = True
    processor.save_pretrained(folder)
    with pytest.raises(DataError, match="do_pan_and_scan"):
        Gemma3().load_processor(str(folder))


def test_a_picture_that_opens_a_turn_stands_behind_three_line_breaks_in_one(encoder):
    words = encoder.tokenizer.convert_ids_to_tokens(encoder.encode(record("<image>Why?")).prompt_ids)
    assert words[words.index("<start_of_image>") - 1] == "\n\n\n"
