"""Templates on the vocabularies of Llama-2 and Llama-3, token by token."""

from dataclasses import replace

import pytest

from tests.conftest import record
from tests.real_vocabularies import llama_2, llama_3, llava_processor
from training.utils.data.encode import Encoder, without_responses
from training.utils.model.llava import Llava

IMAGE_LEN = 4  # tokens of an image
# Facts about Llama-2's vocabulary, from the published tokenizer.
USER, ASSISTANT = [3148, 1001, 29901], [319, 1799, 9047, 13566, 29901]  # "USER:", "ASSISTANT:"
NEWLINE, BOS, EOS = 13, 1, 2


@pytest.fixture(scope="module")
def vicuna(tmp_path_factory):
    return llava_processor(llama_2(tmp_path_factory.mktemp("llama-2")))


def encode(processor, template, *args, **kwargs):
    encoder = Encoder(processor, Llava(), template, max_seq_len=4096)
    one = record(*args, **kwargs)
    tree = encoder.encode(one)
    assert encoder.encode(without_responses(one)).prompt_ids == tree.prompt_ids  # as generation sees it
    return encoder, tree


# "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and
# polite answers to the user's questions.", as LLaVA-1.5 and Vicuna were trained.
SYSTEM = [
    319,
    13563,
    1546,
    263,
    12758,
    1404,
    322,
    385,
    23116,
    21082,
    20255,
    29889,
    450,
    20255,
    4076,
    8444,
    29892,
]
SYSTEM += [13173, 29892, 322, 1248, 568, 6089, 304, 278, 1404, 29915, 29879, 5155, 29889]


def test_llava_reads_as_its_authors_tokenised_it(vicuna):
    encoder, tree = encode(vicuna, "llava", "<image>\nWhat is this?", "A dog.", images=(0,))
    image = [encoder.image_id] * IMAGE_LEN
    # USER:_<image>\nWhat is this? ASSISTANT:
    question = [NEWLINE, 5618, 338, 445, 29973]
    assert tree.prompt_ids == [
        BOS,
        *SYSTEM,
        *USER,
        29871,
        *image,
        *question,
        *ASSISTANT,
    ]
    assert [response.ids for response in tree.responses] == [[319, 11203, 29889, EOS]]  # _A _dog . </s>


@pytest.mark.parametrize("template", ["llava", "vicuna", "default", "llama_2"])
def test_segments_together_are_the_tokens_of_the_whole_text(template, vicuna):
    """Where prompt and answer meet, no token differs from what the tokenizer makes of both in one string."""
    encoder, tree = encode(vicuna, template, "What is this?", "A dog, é and 狗.", images=())
    prompts = encoder.template.prompts(list(record("What is this?", images=()).turns), "<image>")
    whole = "".join(p.text for p in [*prompts[0], *encoder.template.answer("A dog, é and 狗.")])
    assert tree.prompt_ids + tree.responses[0].ids == vicuna.tokenizer(whole).input_ids


def test_a_later_turn_follows_the_end_of_the_answer_before_it(vicuna):
    history = ("<image>\nWhat is this?", "A dog.")
    _, tree = encode(vicuna, "llava", "Its colour?", "Brown.", images=(0,), history=history)
    end = tree.prompt_ids.index(EOS)
    learned = [i for i, is_learned in zip(tree.prompt_ids, tree.prompt_learned, strict=True) if is_learned]
    assert learned == [319, 11203, 29889, EOS]
    assert tree.prompt_ids[end + 1 : end + 1 + 3] == [
        11889,
        29901,
        8011,
    ]  # "USER:_Its" without a space before it
    assert tree.prompt_ids[-len(ASSISTANT) :] == ASSISTANT


def test_a_records_own_system_prompt_stands_in_front_of_the_question(vicuna):
    encoder = Encoder(vicuna, Llava(), "llava", max_seq_len=4096)
    one = replace(record("What is this?", images=()), system="Look.")
    # _Look . _USER:_What is this? _ASSISTANT:
    assert encoder.encode(one).prompt_ids == [BOS, 7419, 29889, *USER, 1724, 338, 445, 29973, *ASSISTANT]


def reference_dialog(*turns, system=""):
    """What the published code of Llama-3 makes of a dialog."""
    from llama_models.datatypes import RawMessage, StopReason
    from llama_models.llama3.chat_format import ChatFormat
    from llama_models.llama3.tokenizer import Tokenizer

    messages = [RawMessage(role="system", content=system)] if system else []
    for number, text in enumerate(turns):
        if number % 2:
            messages.append(RawMessage(role="assistant", content=text, stop_reason=StopReason.end_of_turn))
        else:
            messages.append(RawMessage(role="user", content=text))
    return ChatFormat(Tokenizer.get_instance()).encode_dialog_prompt(messages).tokens


@pytest.mark.parametrize(
    "turns", [["What is this?"], ["Is it 12,345?", "No, é and 狗.", "What then?\n\nSay!"]]
)
def test_llama_3_2_reads_as_its_authors_code_writes_it(turns):
    history = tuple(turns[:-1])
    _, tree = encode(
        llava_processor(llama_3()), "llama-3.2-vision", turns[-1], "A dog.", images=(), history=history
    )
    assert tree.prompt_ids == reference_dialog(*turns)
    assert [response.ids for response in tree.responses] == [[32, 5679, 13, 128009]]  # A _dog . <|eot_id|>


def test_a_system_prompt_of_llama_3_2_reads_as_its_authors_code_writes_it():
    encoder = Encoder(llava_processor(llama_3()), Llava(), "llama-3.2-vision", max_seq_len=4096)
    one = replace(record("Is it?", images=()), system="Answer in one word: é!")
    assert encoder.encode(one).prompt_ids == reference_dialog("Is it?", system=one.system)


def test_the_image_of_llama_3_2_stands_in_front_of_the_words():
    encoder, tree = encode(
        llava_processor(llama_3()), "llama-3.2-vision", "<image>\nWhat is this?", "A dog.", images=(0,)
    )
    begin, user, after, break_, end = 128000, 882, 128007, 271, 128009
    assert tree.prompt_ids == [
        *[begin, 128006, user, after, break_],
        *[encoder.image_id] * IMAGE_LEN,
        *[3923, 374, 420, 30, end],
        *[128006, 78191, after, break_],
    ]


def test_llama_3_has_a_system_turn_and_the_image_inside_the_turn_of_the_user():
    encoder, tree = encode(llava_processor(llama_3()), "llama_3", "<image>\nWhat?", "A dog.", images=(0,))
    headers = [place for place, i in enumerate(tree.prompt_ids) if i == 128006]
    roles = [encoder.tokenizer.decode([tree.prompt_ids[place + 1]]) for place in headers]
    assert roles == ["system", "user", "assistant"]
    assert headers[1] < tree.prompt_ids.index(encoder.image_id) < headers[2]
    assert tree.prompt_ids.count(128009) == 2  # system and user turn end; the answer's end is its own


def test_llama_2_brackets_the_instruction_as_it_was_trained(vicuna):
    """<s>_[INST] <<SYS>> ... _[/INST], then the answer; each later turn begins with <s> again."""
    history = ("What is this?", "A dog.")
    encoder, tree = encode(vicuna, "llama_2", "Why?", "Look.", images=(), history=history)
    opening, closing = [518, 25580, 29962], [518, 29914, 25580, 29962]
    assert tree.prompt_ids[:4] == [BOS, *opening]
    _, alone = encode(vicuna, "llama_2", "Why?", "Look.", images=())
    for prompt_ids in (tree.prompt_ids, alone.prompt_ids):
        assert prompt_ids[-len(closing) :] == closing
    assert [response.ids for response in tree.responses] == [[7419, 29889, 29871, EOS]]  # _Look . _ </s>
    second = len(tree.prompt_ids) - 1 - tree.prompt_ids[::-1].index(BOS)
    assert tree.prompt_ids[second - 1] == EOS  # the first answer has ended
    assert encoder.tokenizer.decode(tree.prompt_ids[second + 1 : second + 4]) == "[INST]"


# -- templates of Vision-LLM-Alignment: by its own rules, written here from its documentation alone

KIND = "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
KIND += "provides, and assist the user with a variety of tasks using natural language.\n\n"
CURIOUS = (
    "A chat between a curious {0} and an artificial intelligence assistant. The assistant gives helpful, "
)
CURIOUS += "detailed, and polite answers to the {0}'s questions. "
HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n"
SECTION = "### Image:\n<image>\n\n"
# For each template: what opens the first question, a question with an image and one without, what an answer gets.
ORIGINAL = {
    "default": ("", SECTION + "### Question:\n%Q\n\n### Answer:\n", "### Question:\n%Q\n\n### Answer:\n", ""),
    "llama_2": (
        f"[INST] <<SYS>>\n{KIND}\n<</SYS>>\n\n", SECTION + "[INST] %Q [/INST] ", "[INST] %Q [/INST] ", "</s><s>",
    ),
    "llama_3": (
        f"{HEAD.format('system')}{KIND}<|eot_id|>",
        f"{SECTION}{HEAD.format('user')}%Q<|eot_id|>{HEAD.format('assistant')}",
        f"{HEAD.format('user')}%Q<|eot_id|>{HEAD.format('assistant')}",
        "<|eot_id|>",
    ),
    "vicuna": (CURIOUS.format("user"), SECTION + "USER: %Q ASSISTANT: ", "USER: %Q ASSISTANT: ", "</s>"),
    "llava": (CURIOUS.format("human"), "USER: <image>\n%Q ASSISTANT: ", "USER: %Q ASSISTANT: ", ""),
    "llava_next": (CURIOUS.format("human"), "USER: <image>\n%Q ASSISTANT: ", "USER: %Q ASSISTANT: ", ""),
    "llama-3.2-vision": (
        "",
        f"{HEAD.format('user')}<image>%Q<|eot_id|>{HEAD.format('assistant')}",
        f"{HEAD.format('user')}%Q<|eot_id|>{HEAD.format('assistant')}",
        "",
    ),
}  # fmt: skip


def original_ids(tokenizer, template, image, *texts, has_image):
    """Questions and answers in alternation: each pair is a text of its own, joined without bos and eos between."""
    opening, with_image, without_image, closing = ORIGINAL[template]
    ids = []
    for number, (question, answer) in enumerate(zip(texts[::2], texts[1::2], strict=True)):
        first, last = number == 0, 2 * number + 2 == len(texts)
        if first:
            question = question.replace("<image>", "").strip("\n")
        text = (with_image if first and has_image else without_image).replace("%Q", question)
        if first and template == "llama_2":
            text = text.replace("[INST] ", "", 1)
        text = (opening if first else "") + text.replace("<image>", image) + answer + closing
        part = tokenizer(text).input_ids
        if part[-1] != tokenizer.eos_token_id:
            part.append(tokenizer.eos_token_id)
        ids += part[0 if first else 1 : None if last else -1]
    return ids


@pytest.mark.parametrize("name", ORIGINAL)
def test_legacy_prompts_have_the_ids_that_the_original_trained_on(name, vicuna):
    processor = llava_processor(llama_3()) if name.startswith("llama") and name != "llama_2" else vicuna
    tokenizer = processor.tokenizer
    encoder = Encoder(processor, Llava(), f"legacy_{name}", max_seq_len=4096)
    for questions, images in (
        (["<image>\nWhat is this?"], (0,)),
        (["What is this?\n<image>"], (0,)),  # it moves to the front
        (["<image>\nWhat is this?", " Is it red?", "Why?"], (0,)),
        (["What is this?", "And\nnow?"], ()),
    ):
        answers = ["A dog.", "No, é and 狗.", "So it is"][: len(questions)]
        texts = [text for pair in zip(questions, answers, strict=True) for text in pair]
        one = record(questions[-1], answers[-1], images=images, history=tuple(texts[:-2]))
        tree = encoder.encode(one)
        found = tree.prompt_ids + tree.responses[0].ids
        image = [encoder.image_id] * IMAGE_LEN
        expected = []
        for token in original_ids(tokenizer, name, processor.image_token, *texts, has_image=bool(images)):
            expected += image if token == encoder.marker_id else [token]
        assert found == expected, tokenizer.decode(found) + "\n" + tokenizer.decode(expected)
        assert encoder.encode(without_responses(one)).prompt_ids == tree.prompt_ids
        assert any(tree.prompt_learned) == (len(questions) > 1)
    assert tokenizer.eos_token_id in encoder.stop_ids
