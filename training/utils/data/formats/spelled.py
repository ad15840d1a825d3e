"""What every reader of a format returns."""

from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ..record import Turn

Picture = str | bytes | Image.Image  # a path as it is written, a compressed file, or pixels


@dataclass
class Spelled:
    """A record as its file has it, before it is checked."""

    id: Any
    images: list[Picture]
    turns: list[Turn]  # user and assistant in alternation, the last is the user's
    responses: list[str]  # the best first, unless there are scores
    scores: tuple[float, ...] | None = None
    critiques: list[str] = field(default_factory=list)  # of each response, or none
    label: str | None = None
    desirable: bool | None = None  # whether the one answer is
    origin: str = ""  # data set that it was taken from
    system: str = ""
    aspect: str = ""  # what the ranking of the responses is about
