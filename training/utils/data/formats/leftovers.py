"""Keys that no reader took: harmless, or refused by name where something to learn from would be lost."""

import re
from collections.abc import Collection
from typing import Any

from PIL import Image

from ..record import DataError
from .names import counts_pictures, kind
from .row import Row
from .values import MAX_DEPTH, is_empty, names, shown

_FILE = re.compile(
    r"[^\n]{1,1000}\.(jpe?g|jfif|png|gif|webp|bmp|tiff?|ppm|heic|avif|mp4|avi|mov|mkv|webm|wav|mp3|flac)",
    re.I,
)
_ENCODED = re.compile(r"data:(image|video|audio)/|iVBORw0KGgo|/9j/|R0lGOD|UklGR")
_CURE = "or leave the key out with --columns ignored={key}"
_MEANING = {
    "picture": "is a picture in a place where none is read, and would be lost",
    "media": "looks like pictures or other media, which would be lost",
    "structure": "would change what is learned, and is not supported",
    "text": "is not used beside the other keys",
}


def refuse_leftovers(row: Row, has_images: bool, texts: Collection[str]) -> None:
    """Looks at what nobody took, of the row and of all that lies inside it.

    Args:
        texts: of the turns and responses; a key that repeats one of them loses nothing.

    Raises:
        DataError: a key looks like media, structure or text by its name, or like a picture by its value.
    """
    for key, value in row.left():
        meaning = kind(key)
        said = _said(value)
        if is_empty(value) or (said and all(text.strip() in texts for text in said)):
            continue
        if isinstance(value, (bool, int, float)) and meaning != "structure":
            if value and not has_images and counts_pictures(key):
                raise DataError(
                    f"{row.what(key)} is {shown(value)} and no picture is found; give --columns images=KEY"
                )
            continue
        cure = _CURE.format(key=key)
        if meaning == "media" and re.search("video|audio|speech|waveform", key, re.I):
            raise DataError(
                f"{row.what(key)} is {shown(value)}: no model here takes video or sound; leave such records out"
            )
        if meaning in _MEANING:
            nulls = [other for other in row.nulls if kind(other) == meaning]
            lost = f" (null: {names(nulls)})" if nulls else ""
            raise DataError(
                f"{row.what(key)} is {shown(value)}: it {_MEANING[meaning]}{lost}; remove it, rename it, {cure}"
            )
        if _looks_like_media(value, deep=not has_images) and not (meaning == "harmless" and has_images):
            raise DataError(
                f"{row.what(key)} is {shown(value)}: it looks like a picture under a name that is not known; "
                f"give --columns images={key}, {cure}"
            )
        if meaning == "unknown" and said and not isinstance(value, str):
            raise DataError(
                f"{row.what(key)} is {shown(value)}: it looks like turns under a name that is not known; "
                f"give --columns messages={key}, {cure}"
            )
    for child in row.children:
        refuse_leftovers(child, has_images, texts)


def _said(value: Any) -> list[str]:
    """The texts of a value that is a text, a message, or a list of messages; else none."""
    if isinstance(value, str):
        return [value]
    messages = [value] if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
    found = []
    for message in messages:
        if not isinstance(message, dict) or not message.keys() & {"role", "from"}:
            return []
        text = message.get("content", message.get("value"))
        if not isinstance(text, str):
            return []
        found.append(text)
    return found


def _looks_like_media(value: Any, deep: bool, depth: int = MAX_DEPTH) -> bool:
    """Whether a value is a picture, a film or a file name of one, or a list of such.

    Args:
        deep: links count too, and objects are looked into: the record has no picture yet.
    """
    if isinstance(value, str):
        value = value.strip()
        is_link = re.match(r"https?:", value) is not None
        return bool(_FILE.fullmatch(value) and (deep or not is_link) or _ENCODED.match(value))
    if isinstance(value, (list, tuple)):
        return depth > 0 and any(_looks_like_media(part, deep, depth - 1) for part in value)
    if isinstance(value, dict):
        is_file = value.keys() == {"bytes", "path"}
        return is_file or (deep and _looks_like_media(list(value.values()), deep, depth))
    return isinstance(value, (bytes, bytearray, Image.Image))
