"""The prompts of Vision-LLM-Alignment, by its names behind `legacy_`: what checkpoints that it trained know.

What all of them have in common, and the templates of `DST.py` have not:

- The pictures of the first question stand at the template's place in front, wherever the record has them, and line
  breaks around that question are dropped.
- Each exchange is tokenised as a text of its own, and its last token goes where another one follows: so an earlier
  answer ends in no end of sequence, and a later question begins as a text does.
- An answer ends in the tokenizer's end-of-sequence token whatever the template writes behind it.

As everywhere, no image is written where a record has none, and the first word of an answer is learned.
"""

from dataclasses import dataclass
from typing import ClassVar

from .record import MARKER
from .segments import Piece, Segment
from .template import ASSISTANT, CHAT, HEADER, SECTION_IMAGE, Template

LEGACY = "legacy_"


@dataclass(frozen=True)
class LegacyTemplate(Template):
    """Its `answer_format` is without the end-of-sequence token that closes every answer."""

    turns_apart: ClassVar[bool] = True

    def answer(self, text: str) -> Segment:
        *words, end = super().answer(text)
        return [*words, end if end.text.endswith(self.eos) else Piece(end.text + self.eos, True)]

    def _opening_images(self, text: str, number: int) -> tuple[int, str]:
        if number == 0:
            return text.count(MARKER), text.replace(MARKER, "").strip("\n")
        return super()._opening_images(text, number) if MARKER in text else (0, text)


_USER, _ASKED = HEADER.format("user"), f"{{text}}<|eot_id|>{HEADER.format('assistant')}"
_LLAVA = LegacyTemplate(
    system="{text} ",
    default_system=CHAT.replace("user", "human"),
    user="USER: {images}{text} ASSISTANT:",
    answer_format=" {text}",
)

LEGACY_TEMPLATES: dict[str, LegacyTemplate] = {
    "legacy_default": LegacyTemplate(
        system="{text}\n\n",  # never of the template's own: a slip left it out
        user="{images}### Question:\n{text}\n\n### Answer:\n",
        answer_format="{text}",
        image=SECTION_IMAGE,
    ),
    "legacy_llama_2": LegacyTemplate(
        system="[INST] <<SYS>>\n{text}\n\n\n<</SYS>>\n\n",
        default_system=ASSISTANT,
        first_user="{images}{text} [/INST]",
        user="{images}[INST] {text} [/INST]",
        answer_format=" {text}</s><s>",
        image=SECTION_IMAGE,
    ),
    "legacy_llama_3": LegacyTemplate(
        system=f"{HEADER.format('system')}{{text}}\n\n<|eot_id|>",
        default_system=ASSISTANT,
        user=f"{{images}}{_USER}{_ASKED}",
        answer_format="{text}<|eot_id|>",
        image=SECTION_IMAGE,
    ),
    "legacy_vicuna": LegacyTemplate(
        system="{text} ",
        default_system=CHAT,
        user="{images}USER: {text} ASSISTANT:",
        answer_format=" {text}</s>",
        image=SECTION_IMAGE,
    ),
    "legacy_llava": _LLAVA,
    "legacy_llava_next": _LLAVA,
    "legacy_llama-3.2-vision": LegacyTemplate(
        user=f"{_USER}{{images}}{_ASKED}", answer_format="{text}", image="{image}"
    ),
}
