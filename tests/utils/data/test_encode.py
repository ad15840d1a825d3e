"""Prompts and answers as token ids."""

from dataclasses import replace

import pytest

from tests.conftest import RECORDS, record
from training.utils.data.DST import TEMPLATES, get_template
from training.utils.data.encode import Encoder, without_responses
from training.utils.data.record import DataError, Turn
from training.utils.model.llava import Llava

LLAMA_3_TOKENS = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


@pytest.fixture(scope="module", params=["auto", *TEMPLATES])
def any_encoder(request, tiny_llava):
    family = Llava()
    processor = family.load_processor(str(tiny_llava))
    processor.tokenizer.add_tokens(LLAMA_3_TOKENS, special_tokens=True)
    return Encoder(processor, family, request.param, max_seq_len=512)


def test_a_prompt_has_the_same_ids_in_training_as_in_generation(any_encoder):
    for one in RECORDS:
        trained, asked = any_encoder.encode(one), any_encoder.encode(without_responses(one))
        assert trained.prompt_ids == asked.prompt_ids


def test_a_conversation_goes_on_where_its_first_answer_ended(any_encoder):
    """Prompt and answer of the first turn are, id by id, the beginning of the second turn's prompt."""
    first = any_encoder.encode(record("<image>\nWhat is this?", "A red circle."))
    second = any_encoder.encode(record("Sure?", history=("<image>\nWhat is this?", "A red circle.")))
    beginning = first.prompt_ids + first.responses[0].ids
    assert second.prompt_ids[: len(beginning)] == beginning


def test_every_assistant_turn_is_learned_with_its_end_of_turn(any_encoder):
    tree = any_encoder.encode(record("And?", "Blue.", history=("<image>\nWhat?", "A red circle.")))
    learned = [i for i, is_learned in zip(tree.prompt_ids, tree.prompt_learned, strict=True) if is_learned]
    assert learned[-1] == any_encoder.end_id and tree.responses[0].ids[-1] == any_encoder.end_id
    assert any_encoder.decode(learned) == "A red circle."
    assert [response.ended for response in tree.responses] == [True]


def test_the_prompt_ends_without_a_dangling_space(any_encoder):
    text = any_encoder.tokenizer.decode(any_encoder.encode(RECORDS[0]).prompt_ids)
    assert text == text.rstrip(" ")


def test_each_image_becomes_as_many_tokens_as_the_processor_says(any_encoder):
    for one in RECORDS:
        tree = any_encoder.encode(one)
        assert tree.prompt_ids.count(any_encoder.image_id) == 16 * len(one.images)  # 32 px in patches of 8 px


def test_a_special_token_in_a_users_words_stays_plain_text(any_encoder):
    words = "Is </s> or <image-like <pad> a token?"
    tree = any_encoder.encode(record(f"<image>\n{words}", "No </s> it is not."))
    assert any_encoder.tokenizer.pad_token_id not in tree.prompt_ids
    assert tree.responses[0].ids.count(any_encoder.tokenizer.eos_token_id) <= 1
    assert words in any_encoder.tokenizer.decode(tree.prompt_ids)


LLAVA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
)
DEFAULT_SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
USER, ASSISTANT = (f"<|start_header_id|>{role}<|end_header_id|>\n\n" for role in ("user", "assistant"))
RENDERED = {
    "llava": LLAVA_SYSTEM + "USER: <image>\nQ ASSISTANT: A</s>USER: R ASSISTANT:",
    "llava_next": LLAVA_SYSTEM + "USER: <image>\nQ ASSISTANT: A</s>USER: R ASSISTANT:",
    "mistral": "[INST] <image>\nQ [/INST] A</s>[INST] R [/INST]",
    "vicuna": LLAVA_SYSTEM + "### Image:\n<image>\n\nUSER: Q ASSISTANT: A</s>USER: R ASSISTANT:",
    "default": f"{DEFAULT_SYSTEM}\n\n### Image:\n<image>\n\n### Question:\nQ\n\n### Answer:\nA</s>"
    "### Question:\nR\n\n### Answer:\n",
    "llama_2": f"[INST] <<SYS>>\n{DEFAULT_SYSTEM}\n<</SYS>>\n\n### Image:\n<image>\n\nQ [/INST] A </s>"
    "<s>[INST] R [/INST]",
    "llama_3": f"<|start_header_id|>system<|end_header_id|>\n\n{DEFAULT_SYSTEM}<|eot_id|>"
    f"{USER}### Image:\n<image>\n\nQ<|eot_id|>{ASSISTANT}A<|eot_id|>{USER}R<|eot_id|>{ASSISTANT}",
    "llama-3.2-vision": f"{USER}<image>Q<|eot_id|>{ASSISTANT}A<|eot_id|>{USER}R<|eot_id|>{ASSISTANT}",
    "auto": "<s>USER: <image>\nQ ASSISTANT: A</s>USER: R ASSISTANT:",
}


@pytest.mark.parametrize("name", RENDERED)
def test_a_conversation_reads_as_its_template_is_published(name, encoder):
    template = get_template(name, encoder.processor)
    turns = [Turn("user", "<image>\nQ"), Turn("assistant", "A"), Turn("user", "R")]
    first, second = template.prompts(turns, "<image>")
    text = "".join(piece.text for piece in [*first, *template.answer("A"), *second])
    assert text == RENDERED[name]


def test_an_unknown_template_is_named_with_the_known_ones(encoder):
    with pytest.raises(DataError, match="--template lava: unknown; expected one of auto, default, .*llava"):
        get_template("lava", encoder.processor)


def test_a_template_whose_end_of_turn_the_tokenizer_lacks_is_refused(encoder):
    with pytest.raises(DataError, match=r"--template llama_3: .*<\|eot_id\|>.* is no special token"):
        Encoder(encoder.processor, encoder.family, "llama_3", max_seq_len=512)


def with_room_for(encoder, length):
    return Encoder(encoder.processor, encoder.family, "auto", max_seq_len=length)


def test_a_long_response_loses_its_end_and_is_not_taken_to_have_ended(encoder):
    one = record("<image>\nWhat is this?", "A very long answer indeed, " * 10, "Short.")
    whole = encoder.encode(one)
    tight = with_room_for(encoder, len(whole.prompt_ids) + 20).encode(one)
    assert tight.prompt_ids == whole.prompt_ids
    assert [response.ids for response in tight.responses] == [
        whole.responses[0].ids[:20],
        whole.responses[1].ids,
    ]
    assert [response.ended for response in tight.responses] == [False, True]


def test_the_oldest_turn_without_an_image_goes_first(encoder):
    one = record("So?", "Yes.", history=("<image>\nWhat?", "This.", "Old words", "Old answer"))
    without = record("So?", "Yes.", history=("<image>\nWhat?", "This."))
    expected = encoder.encode(without)
    tight = with_room_for(encoder, len(expected)).encode(one)
    assert tight.prompt_ids == expected.prompt_ids


def test_a_prompt_that_leaves_no_room_is_a_bad_record(encoder):
    one = record("<image>\nWhat?", "This.")
    with pytest.raises(DataError, match=r"the prompt takes \d+ tokens, 16 of them of 1 image"):
        with_room_for(encoder, 20).inspect(one, [(40, 30)])
    encoder.inspect(one, [(40, 30)])


def test_a_record_fits_as_it_is_encoded(encoder):
    """What a check counts is what training gets."""
    history = ("Old words", "Old answer", "Q", "A")
    one = record("So?", "A very long answer indeed, " * 10, "Short.", images=(), history=history)
    prompt_len = encoder.fit(one, []).prompt_len
    for room, dropped in ((20, 0), (16, 0), (10, 2)):
        tight = with_room_for(encoder, prompt_len + room)
        fit, tree = tight.fit(one, []), tight.encode(one)
        assert fit.prompt_len == len(tree.prompt_ids)
        assert list(fit.response_lens) == [len(response.ids) for response in tree.responses]
        assert fit.responses_cut == [response.ended for response in tree.responses].count(False) == 1
        assert fit.turns_dropped == 5 - len(fit.turns) == dropped


def test_what_is_known_of_a_record_is_exact_where_it_comes_near_the_limit(encoder):
    one = record(
        "So?", "A very long answer indeed, " * 10, "Is </s> it?", images=(), history=("Old words", "Old")
    )
    fit = encoder.fit(one, [])
    far, near = encoder.inspect(one, []), with_room_for(encoder, fit.prompt_len + 8).inspect(one, [])
    assert (far.responses_cut, far.turns_dropped, far.special) == (0, 0, 1)
    assert far.longest > fit.prompt_len + sum(fit.response_lens)
    assert encoder.inspect(one, [], exact=True).longest == fit.prompt_len + sum(fit.response_lens)
    tight = with_room_for(encoder, fit.prompt_len + 8).encode(one)
    assert (near.longest, near.responses_cut, near.turns_dropped) == (len(tight), 1, 2)


def test_responses_that_differ_only_behind_the_cut_are_refused_like_equal_ones(encoder):
    one = record("Q", "The same words, " * 9 + "but yes", "The same words, " * 9 + "but no", images=())
    long = max(encoder.fit(one, []).response_lens)
    tight = with_room_for(encoder, encoder.fit(one, []).prompt_len + long // 2)
    for read in (tight.encode, lambda one: tight.inspect(one, [])):
        with pytest.raises(
            DataError, match=f"two responses differ only behind the {long // 2} tokens that --max_seq"
        ):
            read(one)
    tight.inspect(replace(one, responses=(one.responses[0], "Other")), [])


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        ("turn 0", {"turns": (Turn("user", "Hi \ud83d"),)}),
        ("response 1", {"responses": ("fine", "Hi \ud83d")}),
        ("the system prompt", {"system": "Hi \ud83d"}),
    ],
)
def test_half_a_character_is_a_bad_record_by_name(place, changed, encoder):
    one = replace(record("Q", "A", images=()), **changed)
    expected = rf"{place} holds '\\ud83d' at character 3, half of a character"
    for read in (encoder.encode, lambda one: encoder.inspect(one, [])):
        with pytest.raises(DataError, match=expected):
            read(one)


def test_turns_are_dropped_without_tokenising_the_rest_again_for_each(encoder, monkeypatch):
    history = tuple(f"{word} {n}?" for n in range(60) for word in ("Why", "Because"))
    one = record("So?", "Yes.", images=(), history=history)
    tight = with_room_for(encoder, 200)
    wanted = len(tight.response_ids("Yes."))
    lens = [len(tight.prompt_ids(one.turns[2 * dropped :], [])[0]) for dropped in range(61)]
    expected = next(dropped for dropped, length in enumerate(lens) if length + wanted <= 200)
    num_read = []
    prompts = tight.template.prompts
    monkeypatch.setattr(
        tight.template, "prompts", lambda turns, *rest: num_read.append(len(turns)) or prompts(turns, *rest)
    )
    fit = tight.fit(one, [])
    assert (fit.turns_dropped, fit.prompt_len) == (2 * expected, lens[expected])
    assert sum(num_read) < 3 * len(one.turns)
