"""Prompts as text: each template with pictures anywhere, with a system prompt or none, and chat templates as
transformers renders them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from training.utils.data.chat_template import ChatTemplate
from training.utils.data.DST import TEMPLATES, get_template
from training.utils.data.record import DataError, Turn

SYSTEM = "Answer in </s> French."
HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"


def turns(*texts):
    return [Turn(("user", "assistant")[place % 2], text) for place, text in enumerate(texts)]


def text_of(template, *texts, system=""):
    """The whole prompt as text, answers with their end of turn."""
    segments = template.prompts(turns(*texts), "<image>", system)
    written = "".join(piece.text for piece in segments[0])
    for answer, segment in zip(texts[1::2], segments[1:], strict=True):
        written += "".join(piece.text for piece in [*template.answer(answer), *segment])
    return written


WITH_SYSTEM = {
    "llava": f"{SYSTEM} USER: Q ASSISTANT:",
    "llava_next": f"{SYSTEM} USER: Q ASSISTANT:",
    "vicuna": f"{SYSTEM} USER: Q ASSISTANT:",
    "default": f"{SYSTEM}\n\n### Question:\nQ\n\n### Answer:\n",
    "llama_2": f"[INST] <<SYS>>\n{SYSTEM}\n<</SYS>>\n\nQ [/INST]",
    "llama_3": f"{HEADER.format('system')}{SYSTEM}<|eot_id|>{HEADER.format('user')}Q<|eot_id|>"
    + HEADER.format("assistant"),
}
WITH_SYSTEM["llama-3.2-vision"] = WITH_SYSTEM["llama_3"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_records_system_prompt_stands_where_the_templates_own_stood_or_is_refused(name, encoder):
    template = get_template(name, encoder.processor)
    if name not in WITH_SYSTEM:
        with pytest.raises(
            DataError, match=f"--template {name}: has no place for a system prompt; put its words"
        ):
            template.prompts(turns("Q"), "<image>", SYSTEM)
        return
    assert text_of(template, "Q", system=SYSTEM) == WITH_SYSTEM[name]
    (segment,) = template.prompts(turns("Q"), "<image>", SYSTEM)
    assert [piece.text for piece in segment if not piece.structure] == [SYSTEM, "Q"]  # words, not structure


# Chat templates as checkpoints bring them, in short.
WORDS = (
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}"
    "{% endfor %}"
)
CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<s>system\nBe kind.</s>\n{% endif %}"
    f"<s>{{{{ m['role'] }}}}\n{WORDS}</s>\n{{% endfor %}}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
TRIMMING = CHATML.replace("p['text']", "p['text'] | trim")
TEXT_SYSTEM = CHATML.replace(
    "<s>{{ m['role'] }}",
    "{% if m['role'] == 'system' %}<s>{{ m['content'] | trim }}</s>{% endif %}<s>{{ m['role'] }}",
).replace("for m in messages", "for m in messages if m['role'] != 'system' or m['content'] is string")
DROPPING = CHATML.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
RAISING = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] "
    "{% for p in m['content'] | selectattr('type', 'equalto', 'image') %}<image>\n{% endfor %}"
    "{% for p in m['content'] | selectattr('type', 'equalto', 'text') %}{{ p['text'] }}{% endfor %} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'][0]['text'] + '<\\\\s> ' }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
TWO_ROLES = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {{ m['content'][0]['text'] }} ASSISTANT:"
    "{% else %} {{ m['content'][0]['text'] }}</s>{% endif %}{% endfor %}"
)
DATED = "{% set day = strftime_now('%d %b %Y') %}Today: {{ day }}\n" + CHATML


@pytest.fixture
def chat(encoder, monkeypatch):
    def make(template):
        monkeypatch.setattr(encoder.processor, "chat_template", template)
        return ChatTemplate(encoder.processor)

    return make


def test_a_chat_template_writes_a_records_system_prompt(chat):
    for template in (CHATML, TRIMMING):
        assert text_of(chat(template), "Q", system=SYSTEM) == (
            f"<s>system\n{SYSTEM}</s>\n<s>user\nQ</s>\n<s>assistant\n"
        )
    (segment,) = chat(CHATML).prompts(turns("Q"), "<image>", SYSTEM)
    assert [piece.text for piece in segment if not piece.structure] == [SYSTEM, "Q"]


def test_a_system_prompt_comes_as_text_where_the_chat_template_wants_text(chat):
    assert f"<s>{SYSTEM}</s>" in text_of(chat(TEXT_SYSTEM), "Q", system=SYSTEM)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (DROPPING, "its words do not appear in the prompt"),
        (RAISING, "only user and assistant"),
        (TWO_ROLES, "it would be written as an answer"),
    ],
)
def test_a_system_prompt_that_the_chat_template_drops_or_refuses_is_refused(template, reason, chat):
    with pytest.raises(
        DataError,
        match=rf"--template auto: .* no place for a system prompt here \(.*{reason}\); put its words",
    ):
        chat(template).prompts(turns("Q"), "<image>", SYSTEM)


# A user turn, and the same as parts, None for a picture.
PARTS = {
    "What is this?": ["What is this?"],
    "<image>\nWhat is this?": [None, "What is this?"],
    "before <image> after": ["before ", None, " after"],
    "What is this?\n<image>": ["What is this?", None],
    "What is in <image>": ["What is in ", None],
    "<image>\n<image>\nCompare": [None, None, "Compare"],
    "<image> or <image>?": [None, " or ", None, "?"],
    "See <image> and\n<image>, ok?": ["See ", None, " and\n", None, ", ok?"],
}


def rendered(processor, template, questions, answers, system):
    """What transformers makes of the conversation."""
    messages = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    for number, question in enumerate(questions):
        parts = [{"type": "image"} if p is None else {"type": "text", "text": p} for p in PARTS[question]]
        messages.append({"role": "user", "content": parts})
        messages += [
            {"role": "assistant", "content": [{"type": "text", "text": answer}]}
            for answer in answers[number : number + 1]
        ]
    return processor.apply_chat_template(messages, chat_template=template, add_generation_prompt=True)


@pytest.mark.parametrize("system", ["", "Answer in French."])
@pytest.mark.parametrize("template", [CHATML, TRIMMING], ids=["chatml", "trimming"])
def test_a_conversation_reads_as_transformers_renders_it(template, system, chat, encoder):
    made = chat(template)
    for first in PARTS:
        for second in PARTS:
            expected = rendered(encoder.processor, template, [first, second], [" An answer. "], system)
            # Behind an answer's end a segment goes on: nothing of the template is lost or written twice.
            assert text_of(made, first, " An answer. ", second, system=system) == expected


def test_what_a_chat_template_writes_for_an_end_of_sequence_does_not_reach_the_next_prompt(chat):
    """LLaVA-NeXT's published template for Mistral spells </s> as a literal backslash, s."""
    made = chat(RAISING)
    assert text_of(made, "<image>\nQ", "A", "R") == "[INST] <image>\nQ [/INST] A</s> [INST] R [/INST]"
    assert [piece.text for piece in made.answer("A")] == [" ", "A", "</s>"]


def test_a_chat_template_that_writes_the_date_writes_the_same_one_every_day(chat):
    assert text_of(chat(DATED), "Q").startswith("Today: 26 Jul 2024\n")
    assert get_template("auto", chat(DATED)._processor).prompts(turns("Q"), "<image>")


def test_conversations_of_one_shape_are_rendered_once(chat, monkeypatch):
    made = chat(CHATML)
    texts = [text_of(made, f"<image>\n{word} <image> it", "A", word) for word in ("x", "y y", "z")]
    assert len(set(texts)) == 3
    monkeypatch.setattr(made, "_apply", None)  # another rendering would fail
    assert text_of(made, "<image>\n?! <image> it", "no", "w") == texts[0].replace("x", "?!", 1).replace(
        "\nA</s>", "\nno</s>"
    ).replace("\nx</s>", "\nw</s>")
    with pytest.raises(TypeError):
        text_of(made, "one <image> it", "A", "z")


def test_a_chat_template_that_wants_plain_text_is_refused_by_name(chat):
    with pytest.raises(DataError, match="--template auto: the chat template can't render this"):
        chat("{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}")


LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
RECURSES = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (LOOPS, "takes longer than 0 s for one prompt"),
        (RECURSES, "takes longer than 0 s for one prompt"),
        ("{{ 9 ** (9 ** 9) }}", "takes longer than 0 s for one prompt"),
        ("{% for i in range(10 * 100000) %}{% endfor %}", "Range too big"),
        ("{{ 'a' * 9999999999 }}", "can't render this: MemoryError"),
        ("{{ 1 / 0 }}", "can't render this: division by zero"),
        ("{{ messages[7].x.y }}", "can't render this: "),
    ],
)
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_chat_template_that_never_ends_or_fails_is_one_message(
    template, message, in_thread, chat, monkeypatch
):
    """Also in a thread that is not the main one, as where several records are encoded at a time."""
    if message.startswith("takes longer"):  # the others end by themselves, on a busy machine not within that
        monkeypatch.setattr("training.utils.data.chat_template.LONGEST_S", 0.2)
    with pytest.raises(DataError, match=f"^--template auto: the chat template .*{message}"):
        if in_thread:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(chat, template).result()
        else:
            chat(template)
