"""Prompt templates: how a conversation becomes text.

A template is a few format strings; add yours to `TEMPLATES`. `{text}` stands for the words of a turn,
`{images}` for the images that open a user turn, `{eos}` for the tokenizer's end-of-sequence token. The
prompt ends where the answer begins, without a dangling space: the space belongs to the answer, so training
and generation see the same prompt tokens. Each answer carries its end of turn, in every turn.

`auto` takes the checkpoint's own chat template instead (`ChatTemplate`).
"""

import re
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from .record import MARKER, DataError, Turn


class Piece(NamedTuple):
    """A stretch of text. Special tokens are read in `structure` pieces only, never in a user's words."""

    text: str
    structure: bool


Segment = list[Piece]


class PromptTemplate(Protocol):
    def prompts(self, turns: list[Turn], image: str) -> list[Segment]:
        """One segment for each user turn, from the end of the answer before it to where its answer begins.

        `image` is the text that the model family reads as an image.
        """

    def answer(self, text: str) -> Segment:
        """The answer with its end of turn."""


@dataclass(frozen=True)
class Template:
    user: str  # a user turn and the opening of the answer
    answer_format: str = " {text}{eos}"
    system: str = ""
    first_user: str | None = None  # where the first user turn differs
    image: str = "{image}\n"  # each image that opens a user turn
    eos: str = ""  # filled in by `get_template`

    def prompts(self, turns: list[Turn], image: str) -> list[Segment]:
        users = [turn.text for turn in turns if turn.role == "user"]
        segments = []
        for number, text in enumerate(users):
            opening, rest = _split_opening_images(text)
            user = self.first_user if number == 0 and self.first_user else self.user
            before, after = user.split("{text}")
            images = self.image.format(image=image) * opening
            system = self.system if number == 0 else ""
            segments.append(
                [
                    Piece(system + before.replace("{images}", images), True),
                    *_with_images(rest, image),
                    Piece(after, True),
                ]
            )
        return segments

    def answer(self, text: str) -> Segment:
        before, after = self.answer_format.replace("{eos}", self.eos).split("{text}")
        return [Piece(before, True), Piece(text, False), Piece(after, True)]


def _split_opening_images(text: str) -> tuple[int, str]:
    """Number of image markers that open the text, and the text behind them."""
    opening = re.match(rf"(\s*{MARKER})*\s*", text).group()
    return opening.count(MARKER), text[len(opening) :]


def _with_images(text: str, image: str) -> Segment:
    """The words of a turn, with each image marker in them replaced."""
    pieces = []
    for number, words in enumerate(text.split(MARKER)):
        if number:
            pieces.append(Piece(image, True))
        pieces.append(Piece(words, False))
    return pieces


class ChatTemplate:
    """The chat template that a checkpoint brings, taken apart into the same segments.

    The words of each turn are rendered as private-use characters and put back afterwards, so that whatever
    the template does around them is kept, and special tokens inside them stay plain text.
    """

    _WORDS = "\ue000{}\ue001"

    def __init__(self, processor) -> None:
        if not getattr(processor, "chat_template", None):
            raise DataError(
                f"--template auto: the checkpoint has no chat template; expected one of {', '.join(TEMPLATES)}; "
                "name the template that it was trained with"
            )
        self._processor = processor
        self._eos = processor.tokenizer.eos_token
        specials = sorted(processor.tokenizer.all_special_tokens, key=len, reverse=True)
        prompt = self._render(["x"], [], generate=True)
        full = self._render(["x"], ["y"], generate=False)
        words = self._WORDS.format("a0")
        if not full.startswith(prompt) or words not in full:
            raise DataError(
                "--template auto: the chat template renders a prompt differently once it is answered, so "
                f"training and generation would differ; name one of {', '.join(TEMPLATES)} instead"
            )
        self._before, closing = full[len(prompt) :].split(words)
        # The answer ends with its first special token; what follows belongs to the next prompt.
        found = re.search("|".join(map(re.escape, specials)), closing)
        self._has_end = found is not None
        self._end = closing[: found.end()] if found else self._eos

    def prompts(self, turns: list[Turn], image: str) -> list[Segment]:
        users = [turn.text for turn in turns if turn.role == "user"]
        answers = [turn.text for turn in turns if turn.role == "assistant"]
        rendered = self._render(users, answers, generate=True)
        segments = []
        for number, text in enumerate(users):
            if number < len(answers):
                head, rendered = rendered.split(self._before + self._WORDS.format(f"a{number}"), 1)
            else:
                head, rendered = rendered, ""
            if number and self._has_end:
                head = head.removeprefix(self._end)
            segments.append(self._put_back(head, number, text))
        return segments

    def answer(self, text: str) -> Segment:
        return [Piece(self._before, True), Piece(text, False), Piece(self._end, True)]

    def _render(self, users: list[str], answers: list[str], generate: bool) -> str:
        messages = []
        for number, text in enumerate(users):
            content: list[dict] = []
            for part, words in enumerate(text.split(MARKER)):
                if part:
                    content.append({"type": "image"})
                if words.strip():
                    content.append({"type": "text", "text": self._WORDS.format(f"u{number}.{part}")})
            messages.append({"role": "user", "content": content})
            if number < len(answers):
                words = self._WORDS.format(f"a{number}")
                messages.append({"role": "assistant", "content": [{"type": "text", "text": words}]})
        return self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate)

    def _put_back(self, rendered: str, number: int, text: str) -> Segment:
        words = [part.strip() for part in text.split(MARKER)]
        pieces = []
        for place, stretch in enumerate(re.split(rf"\ue000u{number}\.(\d+)\ue001", rendered)):
            pieces.append(Piece(words[int(stretch)], False) if place % 2 else Piece(stretch, True))
        return pieces


_ASSISTANT = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the "
    "user provides, and assist the user with a variety of tasks using natural language."
)
_CHAT = (
    "A chat between a curious {who} and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the {who}'s questions. "
)
_HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"
_LLAMA_3_USER = f"{_HEADER.format('user')}{{images}}{{text}}<|eot_id|>{_HEADER.format('assistant')}"
_SECTION_IMAGE = "### Image:\n{image}\n\n"
_LLAVA = Template(system=_CHAT.format(who="human"), user="USER: {images}{text} ASSISTANT:")

TEMPLATES: dict[str, Template] = {
    "default": Template(
        system=f"{_ASSISTANT}\n\n",
        user="{images}### Question:\n{text}\n\n### Answer:\n",
        answer_format="{text}{eos}",
        image=_SECTION_IMAGE,
    ),
    "llama_2": Template(
        system=f"[INST] <<SYS>>\n{_ASSISTANT}\n<</SYS>>\n\n",
        first_user="{images}{text} [/INST]",
        user="<s>[INST] {images}{text} [/INST]",
        answer_format=" {text} {eos}",
        image=_SECTION_IMAGE,
    ),
    "llama_3": Template(
        system=f"{_HEADER.format('system')}{_ASSISTANT}<|eot_id|>",
        user=_LLAMA_3_USER,
        answer_format="{text}<|eot_id|>",
        image=_SECTION_IMAGE,
    ),
    "vicuna": Template(
        system=_CHAT.format(who="user"),
        user="{images}USER: {text} ASSISTANT:",
        image=_SECTION_IMAGE,
    ),
    "llava": _LLAVA,
    "llava_next": _LLAVA,
    "mistral": Template(user="[INST] {images}{text} [/INST]"),
    "llama-3.2-vision": Template(user=_LLAMA_3_USER, answer_format="{text}<|eot_id|>", image="{image}"),
}

TEMPLATE_NAMES = ("auto", *TEMPLATES)


def get_template(name: str, processor) -> PromptTemplate:
    """The template `name` for this checkpoint.

    Raises:
        DataError: the name is unknown, or `auto` was asked for and there is no chat template.
    """
    if name == "auto":
        return ChatTemplate(processor)
    if name not in TEMPLATES:
        raise DataError(f"--template {name}: unknown; expected one of {', '.join(TEMPLATE_NAMES)}")
    return replace(TEMPLATES[name], eos=processor.tokenizer.eos_token)
