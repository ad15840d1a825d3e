"""Prompt templates: how a conversation becomes text.

A template is a few format strings; add yours to `TEMPLATES`. `{text}` stands for the words of a turn or of the system
prompt, `{images}` for the images that open a user turn, `{eos}` for the tokenizer's end-of-sequence token. The
prompt ends where the answer begins, without a dangling space: the space belongs to the answer, so training
and generation see the same prompt tokens. Each answer carries its end of turn, in every turn.

`auto` takes the checkpoint's own chat template instead (`chat_template.py`). What Vision-LLM-Alignment trained its
checkpoints with has names of its own (`legacy_templates.py`).
"""

from dataclasses import replace

from .chat_template import ChatTemplate
from .legacy_templates import LEGACY_TEMPLATES
from .record import DataError
from .segments import PromptTemplate
from .template import ASSISTANT, CHAT, HEADER, SECTION_IMAGE, Template

_LLAMA_3_SYSTEM = f"{HEADER.format('system')}{{text}}<|eot_id|>"
_LLAMA_3_USER = f"{HEADER.format('user')}{{images}}{{text}}<|eot_id|>{HEADER.format('assistant')}"
_LLAVA = Template(system="{text} ", default_system=CHAT, user="USER: {images}{text} ASSISTANT:")

TEMPLATES: dict[str, Template] = {
    "default": Template(
        system="{text}\n\n",
        default_system=ASSISTANT,
        user="{images}### Question:\n{text}\n\n### Answer:\n",
        answer_format="{text}{eos}",
        image=SECTION_IMAGE,
    ),
    "llama_2": Template(
        system="[INST] <<SYS>>\n{text}\n<</SYS>>\n\n",
        default_system=ASSISTANT,
        first_user="{images}{text} [/INST]",
        user="<s>[INST] {images}{text} [/INST]",
        answer_format=" {text} {eos}",
        image=SECTION_IMAGE,
    ),
    "llama_3": Template(
        system=_LLAMA_3_SYSTEM,
        default_system=ASSISTANT,
        user=_LLAMA_3_USER,
        answer_format="{text}<|eot_id|>",
        image=SECTION_IMAGE,
    ),
    "vicuna": Template(
        system="{text} ",
        default_system=CHAT,
        user="{images}USER: {text} ASSISTANT:",
        image=SECTION_IMAGE,
    ),
    "llava": _LLAVA,
    "llava_next": _LLAVA,
    "mistral": Template(user="[INST] {images}{text} [/INST]"),
    "paligemma": Template(user="{images}{text}", answer_format="{text}{eos}", image="{image}"),
    "llama-3.2-vision": Template(
        system=_LLAMA_3_SYSTEM, user=_LLAMA_3_USER, answer_format="{text}<|eot_id|>", image="{image}"
    ),
}

TEMPLATE_NAMES = ("auto", *TEMPLATES, *LEGACY_TEMPLATES)


def require_template(name: str) -> None:
    """Raises DataError where no template has this name."""
    if name not in TEMPLATE_NAMES:
        raise DataError(f"--template {name}: unknown; expected one of {', '.join(TEMPLATE_NAMES)}")


def get_template(name: str, processor) -> PromptTemplate:
    """The template `name` for this checkpoint.

    Raises:
        DataError: the name is unknown, or `auto` was asked for and the chat template can't be used.
    """
    require_template(name)
    if name == "auto":
        try:
            return ChatTemplate(processor)
        except DataError as error:
            raise DataError(f"{error}; expected one of {', '.join(TEMPLATES)}") from error
    templates = TEMPLATES | LEGACY_TEMPLATES
    return replace(templates[name], name=name, eos=processor.tokenizer.eos_token)
