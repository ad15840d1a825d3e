"""A question of a benchmark, whatever its file looks like."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from training.utils.data.formats import normalise
from training.utils.data.record import DataError, Turn

ROLES = {"user": "human", "assistant": "gpt"}


@dataclass(frozen=True)
class Question:
    id: str  # unique in its benchmark
    prompt: str  # as the benchmark asks it; image markers may be in it
    images: tuple[str | bytes | Image.Image, ...]  # paths in the image folder, or the pictures themselves
    truth: Any  # what the scorer compares with
    group: str = ""  # a part of the benchmark with figures of its own
    history: tuple[Turn, ...] = ()  # turns before the prompt
    system: str = ""

    def entry(self) -> dict:
        """The question as an entry of LLaVA's format, for prediction (data/README.md)."""
        turns = (*self.history, Turn("user", self.prompt))
        entry = {
            "id": self.id,
            "image": list(self.images),
            "conversations": [{"from": ROLES[turn.role], "value": turn.text} for turn in turns],
        }
        if self.system:
            entry["system"] = self.system
        return entry | ({"label": self.truth} if isinstance(self.truth, str) else {})


def from_llava(entry: dict, where: str, index: int, truth: str, group: str = "") -> Question:
    """A question from an entry of LLaVA's format; its id is the one that prediction gives it."""
    try:
        spelled = normalise(entry)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    *history, last = spelled.turns
    name = str(spelled.id if spelled.id is not None else index)
    return Question(name, last.text, tuple(spelled.images), truth, group, tuple(history), spelled.system)
