"""Prompt templates: how a conversation becomes text.

A template is a few format strings; add yours to `TEMPLATES`. `{text}` stands for the words of a turn or of the system
prompt, `{images}` for the images that open a user turn, `{eos}` for the tokenizer's end-of-sequence token. The
prompt ends where the answer begins, without a dangling space: the space belongs to the answer, so training
and generation see the same prompt tokens. Each answer carries its end of turn, in every turn.

`auto` takes the checkpoint's own chat template instead (`chat_template.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .chat_template import ChatTemplate
from .record import DataError, Turn
from .segments import Piece, PromptTemplate, Segment, split_opening_images, texts_of, with_images


@dataclass(frozen=True)
class Template:
    user: str  # a user turn and the opening of the answer
    answer_format: str = " {text}{eos}"
    system: str = ""  # how a system prompt is written; empty: there is no place for one
    default_system: str = ""  # the words of a record that has no system prompt of its own
    first_user: str | None = None  # where the first user turn differs
    image: str = "{image}\n"  # each image that opens a user turn
    name: str = ""  # filled in by `get_template`, as is `eos`
    eos: str = ""

    def prompts(self, turns: Sequence[Turn], image: str, system: str = "") -> list[Segment]:
        if system and not self.system:
            raise DataError(
                f"--template {self.name}: has no place for a system prompt; put its words in front of the first "
                "question, or use a template that has one"
            )
        segments = []
        for number, text in enumerate(texts_of(turns, "user")):
            opening, rest = split_opening_images(text)
            user = self.first_user if number == 0 and self.first_user else self.user
            before, after = user.split("{text}")
            images = self.image.format(image=image) * opening
            segments.append(
                [
                    *(self._system(system or self.default_system) if number == 0 else ()),
                    Piece(before.replace("{images}", images), True),
                    *with_images(rest, image),
                    Piece(after, True),
                ]
            )
        return segments

    def answer(self, text: str) -> Segment:
        before, after = self.answer_format.replace("{eos}", self.eos).split("{text}")
        return [Piece(before, True), Piece(text, False), Piece(after, True)]

    def _system(self, words: str) -> Segment:
        if not words:
            return []
        before, after = self.system.split("{text}")
        return [Piece(before, True), Piece(words, False), Piece(after, True)]


_ASSISTANT = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the "
    "user provides, and assist the user with a variety of tasks using natural language."
)
_CHAT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"
_LLAMA_3_SYSTEM = f"{_HEADER.format('system')}{{text}}<|eot_id|>"
_LLAMA_3_USER = f"{_HEADER.format('user')}{{images}}{{text}}<|eot_id|>{_HEADER.format('assistant')}"
_SECTION_IMAGE = "### Image:\n{image}\n\n"
_LLAVA = Template(system="{text} ", default_system=_CHAT, user="USER: {images}{text} ASSISTANT:")

TEMPLATES: dict[str, Template] = {
    "default": Template(
        system="{text}\n\n",
        default_system=_ASSISTANT,
        user="{images}### Question:\n{text}\n\n### Answer:\n",
        answer_format="{text}{eos}",
        image=_SECTION_IMAGE,
    ),
    "llama_2": Template(
        system="[INST] <<SYS>>\n{text}\n<</SYS>>\n\n",
        default_system=_ASSISTANT,
        first_user="{images}{text} [/INST]",
        user="<s>[INST] {images}{text} [/INST]",
        answer_format=" {text} {eos}",
        image=_SECTION_IMAGE,
    ),
    "llama_3": Template(
        system=_LLAMA_3_SYSTEM,
        default_system=_ASSISTANT,
        user=_LLAMA_3_USER,
        answer_format="{text}<|eot_id|>",
        image=_SECTION_IMAGE,
    ),
    "vicuna": Template(
        system="{text} ",
        default_system=_CHAT,
        user="{images}USER: {text} ASSISTANT:",
        image=_SECTION_IMAGE,
    ),
    "llava": _LLAVA,
    "llava_next": _LLAVA,
    "mistral": Template(user="[INST] {images}{text} [/INST]"),
    "paligemma": Template(user="{images}{text}", answer_format="{text}{eos}", image="{image}"),
    "llama-3.2-vision": Template(
        system=_LLAMA_3_SYSTEM, user=_LLAMA_3_USER, answer_format="{text}<|eot_id|>", image="{image}"
    ),
}

TEMPLATE_NAMES = ("auto", *TEMPLATES)


def get_template(name: str, processor) -> PromptTemplate:
    """The template `name` for this checkpoint.

    Raises:
        DataError: the name is unknown, or `auto` was asked for and the chat template can't be used.
    """
    if name == "auto":
        try:
            return ChatTemplate(processor)
        except DataError as error:
            raise DataError(f"{error}; expected one of {', '.join(TEMPLATES)}") from error
    if name not in TEMPLATES:
        raise DataError(f"--template {name}: unknown; expected one of {', '.join(TEMPLATE_NAMES)}")
    return replace(TEMPLATES[name], name=name, eos=processor.tokenizer.eos_token)
