"""What a record is: a prompt of text and images, with its responses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

MARKER = "<image>"  # what stands for an image in the text of a record


class DataError(ValueError):
    """Data or a checkpoint can't be used; the message says what, where, and how to mend it."""


@dataclass(frozen=True)
class Turn:
    role: Literal["user", "assistant"]
    text: str  # a user's may hold image markers


@dataclass(frozen=True)
class Record:
    id: str
    source: str  # "file[index]"
    images: tuple[Path | bytes | Image.Image, ...]  # files, compressed, or (our own) pictures
    turns: tuple[Turn, ...]  # the prompt; the last turn is the user's
    responses: tuple[str, ...] = ()  # the best first
    scores: tuple[float, ...] | None = None
    label: str | None = None
    origin: str = ""  # data set that it was taken from
    system: str = ""  # a system prompt of its own
