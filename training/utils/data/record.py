"""What a record is: a prompt of text and images, with its responses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

Picture = Path | bytes | Image.Image  # a file, the bytes of one, or a decoded picture
MARKER = "<image>"  # what stands for an image in the text of a record


class DataError(ValueError):
    """Data or a checkpoint can't be used; the message says what, where, and how to mend it."""


class TooLongError(DataError):
    """A record does not fit into `max_seq_len`.

    Attributes:
        needed: the length that holds it whole, with its longest response.
    """

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message, needed)
        self.needed = needed

    def __str__(self) -> str:
        return self.args[0]


class ImageError(DataError):
    """A picture can't be used; the message says why."""


def shown(value: object) -> str:
    """A value for a message: short, also where it is a whole picture in base64."""
    text = repr(str(value))
    return text if len(text) <= 200 else f"{text[:80]}...{text[-100:]}"


@dataclass(frozen=True)
class Turn:
    role: Literal["user", "assistant"]
    text: str  # a user's may hold image markers


@dataclass(frozen=True)
class Record:
    id: str
    source: str  # "file[index]"
    images: tuple[Picture, ...]
    turns: tuple[Turn, ...]  # the prompt; the last turn is the user's
    responses: tuple[str, ...] = ()  # the best first
    scores: tuple[float, ...] | None = None
    critiques: tuple[str, ...] = ()  # what is right and wrong with each response, if that is known
    label: str | None = None
    origin: str = ""  # data set that it was taken from
    system: str = ""  # a system prompt of its own
    aspect: int = (
        -1
    )  # what its ranking is about, by its place among the names that are asked for; -1: all in all
    is_named: bool = True  # the data give its id; else it is the place in the file

    @property
    def own_id(self) -> str:
        """The id that the data give; empty where they give none, since a place may look like the id of another."""
        return self.id if self.is_named else ""
