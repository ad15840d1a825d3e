"""Pictures for a judge that sees them, wherever they live: files, columns of a table, base64 in official files.

A message names a picture by its digest, so that stored replies stay small and are found again; the picture takes the
place of its name when the message is sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.predictions import picture_digest
from eval.prompts import entries_of
from training.utils.chat.client import Ask
from training.utils.chat.messages import Messages
from training.utils.chat.pictures import data_url, part_of
from training.utils.data.images import verify
from training.utils.data.reader import Reader
from training.utils.data.record import DataError, ImageError, Picture
from training.utils.http import Refused


class Pictures:
    def __init__(self, of: Mapping[str, Sequence[Picture]], longest_side: int = 0) -> None:
        """
        Args:
            of: the pictures of each question, by its id.
            longest_side: in pixels; larger pictures are made smaller. 0: none is.
        """
        self._of, self._longest_side = of, longest_side
        self._named: dict[str, Picture | ImageError] = {}
        self._parts: dict[
            str, list[dict[str, Any]]
        ] = {}  # of the questions so far: each may be asked several times

    def parts(self, name: str) -> list[dict[str, Any]]:
        """The pictures of a question's id as parts of a message, by their digests.

        A picture that can't be shown has a name too: its question is told with the others that get no reply.

        Raises:
            DataError: the question is not known.
        """
        if name not in self._parts:
            self._parts[name] = self._look(name)
        return self._parts[name]

    def _look(self, name: str) -> list[dict[str, Any]]:
        try:
            named = [(self._name(picture), picture) for picture in self._of[name]]
        except KeyError:
            raise DataError(
                f"--judge_images: no question {name} in --data_path; expected the data it was asked from"
            ) from None
        except ImageError as error:
            named = [(f"none: {error}", error)]
        self._named |= dict(named)
        return [part_of(url) for url, _ in named]

    def _name(self, picture: Picture) -> str:
        verify(picture)
        return f"sha256:{picture_digest(picture)}/{self._longest_side}"

    def send_by(self, ask: Ask) -> Ask:
        """Asks with the pictures in the place of their names; where one can't be shown it is not asked (Refused)."""

        def ask_with_pictures(messages: Messages) -> str:
            return ask([message | {"content": self._content(message["content"])} for message in messages])

        return ask_with_pictures

    def _content(self, content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
        if isinstance(content, str):
            return content
        return [self._part(part) if part["type"] == "image_url" else part for part in content]

    def _part(self, part: dict[str, Any]) -> dict[str, Any]:
        picture = self._named[part["image_url"]["url"]]
        if isinstance(picture, ImageError):
            raise Refused(f"not asked, since its picture can't be shown: {picture}")
        return part_of(data_url(picture, self._longest_side))


class _OfData(Mapping):
    """The pictures of each id of some data, read when they are asked for."""

    def __init__(self, bench: str, data_path: str, image_folder: str) -> None:
        self._entries = entries_of(bench, data_path, image_folder)
        self._reader = Reader(image_folder=image_folder or None)
        self._places: dict[str, int] = {}
        for place in range(len(self._entries)):
            if name := self._reader.id_of(self._entries, place):
                self._places.setdefault(name, place)

    def __getitem__(self, name: str) -> tuple[Picture, ...]:
        return self._reader.read(self._entries, self._places[name]).images

    def __iter__(self):
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def pictures_of(bench: str, data_path: str, image_folder: str = "", longest_side: int = 0) -> Pictures:
    """The pictures of the data that a model answered: of a benchmark's official files, or of any data file."""
    return Pictures(_OfData(bench, data_path, image_folder), longest_side)
