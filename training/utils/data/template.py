"""A prompt template made of a few format strings, and the words that several templates share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .record import DataError, Turn
from .segments import Piece, Segment, split_opening_images, texts_of, with_images

ASSISTANT = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the "
    "user provides, and assist the user with a variety of tasks using natural language."
)
CHAT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"
SECTION_IMAGE = "### Image:\n{image}\n\n"


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
    turns_apart: ClassVar[bool] = False  # see `PromptTemplate`

    def prompts(self, turns: Sequence[Turn], image: str, system: str = "") -> list[Segment]:
        if system and not self.system:
            raise DataError(
                f"--template {self.name}: has no place for a system prompt; put its words in front of the first "
                "question, or use a template that has one"
            )
        segments = []
        for number, text in enumerate(texts_of(turns, "user")):
            opening, rest = self._opening_images(text, number)
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

    def _opening_images(self, text: str, number: int) -> tuple[int, str]:
        """Images that open the user turn of that number, and its words behind them."""
        return split_opening_images(text)

    def _system(self, words: str) -> Segment:
        if not words:
            return []
        before, after = self.system.split("{text}")
        return [Piece(before, True), Piece(words, False), Piece(after, True)]
