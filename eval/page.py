"""Self-contained HTML pages: a template with its style inside, and pictures as data URIs."""

import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from training.utils.data.images import open_image, uri_of

SHARED = Path(__file__).parent / "templates"  # what every page may include: page.css
LARGEST_PX = 480  # side of a picture in a page


def render_page(template: Path, filters: Mapping[str, Callable] | None = None, **content: Any) -> str:
    """A page, with everything that is put into it escaped."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, SHARED]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= filters or {}
    return environment.get_template(template.name).render(**content)


def data_uri(file: Path, largest_bytes: float = math.inf) -> str:
    """The picture upright, without what else its file holds; made smaller where it is larger than it may be.

    Raises:
        ImageError: the file is no picture.
    """
    image = open_image(file)
    content = io.BytesIO()
    image.save(content, "PNG")
    return image_uri(image) if content.tell() > largest_bytes else uri_of(content.getvalue(), "image/png")


def image_uri(image: Image.Image, largest_px: int = LARGEST_PX) -> str:
    """A picture with sides of at most so many pixels; a small one keeps every pixel as it is."""
    image = image.convert("RGB")
    image.thumbnail((largest_px, largest_px))
    lossless = math.prod(image.size) <= 64 * 64
    content = io.BytesIO()
    image.save(content, "PNG" if lossless else "JPEG", quality=80)
    return uri_of(content.getvalue(), "image/png" if lossless else "image/jpeg")


def thumbnail_uri(image: Image.Image, largest_px: int) -> str:
    """A picture with sides of at most so many pixels in few bytes; the given one stays as it is."""
    small = image.convert("RGB")
    small.thumbnail((largest_px, largest_px))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=70, optimize=True)
    return uri_of(content.getvalue(), "image/jpeg")
