"""What a prompt template makes: stretches of text, each of the structure or of somebody's words."""

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from .record import MARKER, Turn


class Piece(NamedTuple):
    """A stretch of text. Special tokens are read in `structure` pieces only, never in a user's words."""

    text: str
    structure: bool


Segment = list[Piece]


class PromptTemplate(Protocol):
    """What makes the segments of a prompt.

    Attributes:
        turns_apart: each exchange is tokenised as a text of its own, and its last token goes where another follows.
    """

    turns_apart: bool

    def prompts(self, turns: Sequence[Turn], image: str, system: str = "") -> list[Segment]:
        """One segment for each user turn, from the end of the answer before it to where its answer begins.

        Args:
            image: the text that the model family reads as an image.
            system: the record's own system prompt; empty where it has none.

        Raises:
            DataError: there is no place for a system prompt.
        """

    def answer(self, text: str) -> Segment:
        """The answer with its end of turn."""


def texts_of(turns: Sequence[Turn], role: str) -> list[str]:
    return [turn.text for turn in turns if turn.role == role]


def split_opening_images(text: str) -> tuple[int, str]:
    """Number of image markers that open the text, and the text behind them."""
    opening = re.match(rf"(\s*{MARKER})*\s*", text).group()
    return opening.count(MARKER), text[len(opening) :]


def with_images(text: str, image: str) -> Segment:
    """The words of a turn, with each image marker in them replaced."""
    pieces = []
    for number, words in enumerate(text.split(MARKER)):
        if number:
            pieces.append(Piece(image, True))
        pieces.append(Piece(words, False))
    return pieces
