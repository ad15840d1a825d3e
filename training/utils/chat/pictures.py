"""A picture as a part of a message."""

import io
from pathlib import Path
from typing import Any

from ..data.image_head import opened, orientation
from ..data.images import open_image, uri_of
from ..data.record import Picture

MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}  # what all servers read


def part_of(address: str) -> dict[str, Any]:
    """The part of a message that shows what is at an address."""
    return {"type": "image_url", "image_url": {"url": address}}


def data_url(picture: Picture, longest_side: int = 0) -> str:
    """A picture as an address that holds it: the very bytes where a server reads them as the models here do.

    Else it is written anew as PNG: upright, in RGB, small enough.

    Args:
        longest_side: in pixels; a larger picture is made smaller. 0: none is.

    Raises:
        ImageError: it can't be shown.
    """
    with opened(picture) as image:
        is_plain = (
            isinstance(picture, bytes | Path)
            and image.format in MEDIA_TYPES
            and image.mode in ("RGB", "L")
            and orientation(image) == 1
            and max(image.size) <= (longest_side or max(image.size))
        )
        kind = image.format
    if is_plain:
        content = picture if isinstance(picture, bytes) else picture.read_bytes()
        return uri_of(content, MEDIA_TYPES[kind])
    upright = open_image(picture)
    if longest_side:
        upright.thumbnail((longest_side, longest_side))
    content = io.BytesIO()
    upright.save(content, "PNG")
    return uri_of(content.getvalue(), "image/png")
