"""The pictures of a row, under whatever name and in whatever form."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..record import DataError
from .names import kind
from .row import Row
from .spelled import Picture
from .values import as_text, is_empty, parsed, shown

_BASE64 = re.compile(r"(iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk0|Qk1|SUkqA|TU0AK)[A-Za-z0-9+/\s]{40,}=*\s*")
_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w=.+-]+)*),", re.I)
_LINK = re.compile(r"([a-z][a-z0-9+.-]+)://", re.I)


@dataclass(frozen=True)
class Pictures:
    """What a row has of pictures.

    Attributes:
        joined: they stood in one text with commas between them.
    """

    images: list[Picture]
    joined: bool = False


def take_pictures(row: Row) -> Pictures:
    """The pictures of all keys that name pictures (`image`, `images`, `Image`, `image_path`, `img`, ...).

    Keys may repeat each other, as `image` and `image_path` of many data sets do: the picture itself wins over its
    path, and a path over a link.

    Raises:
        DataError: two keys name different pictures, or a value is no picture.
    """
    found: dict[str, Pictures] = {}
    for key, value in list(row.left()):
        if kind(key) != "picture":
            continue
        row.take(key)
        if not is_empty(value):
            found[key] = _split(value, row.what(key))
    if not found:
        return Pictures([])
    best = max(found, key=lambda key: _rank(found[key].images))  # of equals the first
    for key, other in found.items():
        same_rank = _rank(other.images) == _rank(found[best].images)
        if len(other.images) != len(found[best].images) or (same_rank and other.images != found[best].images):
            raise DataError(
                f"{row.what(best)} and {row.what(key)} name different pictures; leave one out, "
                f"as with --columns ignored={key}"
            )
    if _rank(found[best].images) == 0:
        raise DataError(_no_link(found[best].images, row.what(best)))
    return found[best]


def _rank(images: list[Picture]) -> int:
    """0: links, 1: paths, 2: the pictures themselves; a list counts as the worst in it."""
    return min(0 if _is_link(image) else 1 if isinstance(image, str) else 2 for image in images)


def _is_link(image: Picture) -> bool:
    return isinstance(image, str) and _LINK.match(image) is not None


def _no_link(images: list[Picture], what: str) -> str:
    link = next(image for image in images if _is_link(image))
    return f"{what} is {shown(link)}: nothing is downloaded; put the picture into --image_folder and give its path"


def _split(value: Any, what: str) -> Pictures:
    """The pictures of one key. A text may hold several paths with commas between them; a name in a list is whole."""
    value = parsed(value)
    if (
        isinstance(value, str)
        and "," in value
        and not _DATA_URI.match(value.lstrip())
        and not _is_link(value)
    ):
        names = [name.strip() for name in as_text(value, what).split(",")]
        if not all(names):
            raise DataError(f"{what} is {shown(value)}: nothing between two commas; expected a path there")
        return Pictures([_one(name, what) for name in names], joined=True)
    if isinstance(value, (list, tuple)):
        parts = [
            part for listed in value for part in (listed if isinstance(listed, (list, tuple)) else [listed])
        ]
        if any(map(is_empty, parts)):
            raise DataError(f"{what} holds an empty entry among its pictures; take it out")
        return Pictures([_one(part, what) for part in parts])
    return Pictures([_one(value.strip() if isinstance(value, str) else value, what)])


def _one(value: Any, what: str) -> Picture:
    """One picture: a path, a compressed file or pixels."""
    if isinstance(value, dict):  # of the datasets library, or an `image_url` of OpenAI
        inner = {key: part for key, part in value.items() if key != "detail" and not is_empty(part)}
        content = inner.pop("bytes", None)
        path = inner.pop("path", None) if content is not None or len(inner) != 1 else None
        if content is None and path is None and len(inner) == 1 and (inner.keys() & {"path", "url", "image"}):
            return _one(*inner.values(), what)
        if inner or (content is None and path is None):
            raise DataError(
                f"{what} is {shown(value)}; expected a path, or an object with `bytes`, `path` or `url`"
            )
        if isinstance(content, str) and not (_DATA_URI.match(content) or _BASE64.fullmatch(content)):
            raise DataError(
                f"{what} has `bytes` {shown(content)}; expected a whole picture file, or its base64 text"
            )
        return _one(path if content is None else content, what)
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if not isinstance(value, str):
        raise DataError(f"{what} is {shown(value)}; expected a path, a list of paths, or null")
    text = as_text(value, what)
    uri = _DATA_URI.match(text)
    if uri:
        if not (uri[1] or "").lower().startswith("image/") or not uri[2].lower().endswith(";base64"):
            raise DataError(f"{what} is {shown(text)}; expected data:image/...;base64,...")
        return _decoded(text[uri.end() :], what)
    if _BASE64.fullmatch(text):
        return _decoded(text, what)
    return text.removeprefix("file://")


def _decoded(text: str, what: str) -> bytes:
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        raise DataError(f"{what} is {shown(text)}: no whole base64 text; write the picture again")
    return content
