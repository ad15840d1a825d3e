"""The head of a picture: what kind of picture it is and how large, before anything is decoded.

Only formats that are pixels are opened (an EPS is a program for Ghostscript), and no picture is so large or so thin
that it may be an attack, or that a processor asks for gigabytes.
"""

import io
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import ExifTags, Image

from .record import ImageError, Picture, shown

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "MPO",
    "TIFF",
    "BMP",
    "DIB",
    "AVIF",
    "JPEG2000",
    "PPM",
    "ICO",
    "PCX",
    "SGI",
)
UNMARKED_FORMATS = ("TGA",)  # without a magic number, so tried last
MAX_RATIO = 200  # of a picture's sides: processors enlarge the short one, or refuse
MAX_BYTES = 2**30  # of a file; more than four floats for each of the most pixels that Pillow takes
SWAPS_SIDES = (5, 6, 7, 8)  # EXIF orientations
TIFF_WIDTH, TIFF_HEIGHT = 256, 257  # tags
PNG_METADATA = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")  # chunks that may hold an orientation


def named(picture: Picture) -> str:
    """A picture for a message."""
    if isinstance(picture, Path):
        return f"image {shown(picture)}"
    return f"image of {len(picture):,} bytes" if isinstance(picture, bytes) else "image"


@cache
def formats() -> tuple[str, ...]:
    """The formats to open, as far as this Pillow has them."""
    Image.init()
    return tuple(name for name in (*FORMATS, *UNMARKED_FORMATS) if name in Image.OPEN)


@contextmanager
def opened(picture: Picture) -> Iterator[Image.Image]:
    """A picture with its head read; Pillow reads the rest when it is asked for pixels.

    Raises:
        ImageError: it is no file, empty, or too large a file.
    """
    if isinstance(picture, Image.Image):
        yield picture
        return
    if isinstance(picture, Path):
        found = picture.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would wait for ever
            raise ImageError(f"{named(picture)} is no file; mend the path")
        num_bytes = found.st_size
    else:
        num_bytes = len(picture)
    if num_bytes == 0:
        raise ImageError(f"{named(picture)} is an empty file; replace it")
    if num_bytes > MAX_BYTES:
        raise ImageError(
            f"{named(picture)} has {num_bytes:,} bytes; expected at most {MAX_BYTES:,}; shrink it"
        )
    with (
        picture.open("rb") if isinstance(picture, Path) else io.BytesIO(picture) as file,
        Image.open(file, formats=formats()) as image,
    ):
        yield image


def upright_size(picture: Picture) -> tuple[int, int]:
    """Width and height as EXIF turns the picture, in pixels.

    Raises:
        ImageError: it has more pixels than Pillow's limit, or a side more than `MAX_RATIO` times the other; and as
            `opened`.
    """
    with opened(picture) as image:
        tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
        # Pillow's size of a TIFF is turned already or not, by its version; the tags never are.
        width, height = (tags[TIFF_WIDTH], tags[TIFF_HEIGHT]) if tags else image.size
        if width != height and orientation(image) in SWAPS_SIDES:
            width, height = height, width
    if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
        raise too_large(picture)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ImageError(
            f"{named(picture)} has {width} x {height} pixels; expected a long side of at most {MAX_RATIO} times the "
            "short one; crop the picture or take the record out"
        )
    return width, height


def too_large(picture: Picture) -> ImageError:
    return ImageError(f"{named(picture)} has more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller")


def orientation(image: Image.Image) -> int:
    if image.format == "PNG" and image.fp and not _has_late_metadata(image.fp):
        exif = Image.Image.getexif(image)  # PNG's own decodes the picture to look behind it
    else:
        exif = image.getexif()
    return exif.get(ExifTags.Base.Orientation, 1)


def _has_late_metadata(file: io.BufferedIOBase) -> bool:
    """Whether a PNG has metadata behind its pixels."""
    place, behind, found = file.tell(), False, False
    file.seek(8)  # behind the signature
    while not found and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        found = behind and kind in PNG_METADATA
        behind |= kind == b"IDAT"
        file.seek(length + 4, os.SEEK_CUR)  # the data and their checksum
    file.seek(place)
    return found
