"""Opening pictures: a file inside a folder or compressed bytes, as one upright picture in RGB, safely.

The pixels are those of transformers' `load_image`: turned as EXIF says, the first frame of an animation, the colours
below what is transparent. Samples of more than 8 bits, which it clips, are scaled (`eight_bit.py`).
"""

import base64
import errno
import hashlib
import io
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

from .eight_bit import DEEP_MODES, to_eight_bit
from .image_head import formats, named, opened, too_large, upright_size
from .pixel_budget import PixelBudget
from .record import ImageError, Picture, shown

PAUSES_S = (1, 2, 4, 8)  # before a file is tried again
LASTING = {  # what no waiting mends
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}

logger = logging.getLogger(__name__)
T = TypeVar("T")
_decoding = PixelBudget(100_000_000)
# Of Pillow's memory: blocks above 32 MiB go back to the system, smaller ones each thread's allocator keeps for ever.
Image.core.set_block_size(64 * 2**20)


def locate(name: str, folder: Path) -> Path:
    """The file of a picture. Links on disk are followed, wherever they lead: whoever fills the folder makes them.

    Args:
        name: a path that starts at `folder`, or an absolute one inside it.

    Raises:
        ImageError: the name leads out of `folder` by itself, is an address, or is no file there.
    """
    if scheme := re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://|data:", name):
        raise ImageError(
            f"image {shown(name)} is a {scheme[0]} address; expected a path inside --image_folder: nothing is "
            "downloaded; fetch the picture first and name its file"
        )
    root = os.path.abspath(folder)
    inside = Path(os.path.normpath(os.path.join(root, name)))
    if not (inside.is_relative_to(root) or inside.is_relative_to(os.path.realpath(folder))):
        raise ImageError(f"image {shown(name)} lies outside {folder}; expected a path inside --image_folder")
    path = folder / name
    try:
        found = os.stat(path)
        if ".." in Path(name).parts:  # behind a link it would lead out
            path, found = inside, os.stat(inside)
    except (OSError, ValueError) as error:  # a ValueError if it has characters that no file name has
        is_missing = isinstance(error, FileNotFoundError)
        reason = "" if is_missing else f" ({getattr(error, 'strerror', error)})"
        if is_missing and not os.path.isdir(folder):
            reason = " (there is no such folder now)"
        raise ImageError(
            f"image {shown(name)} is not in {folder}{reason}; set --image_folder or mend the path"
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(f"image {shown(name)} in {folder} is no file; mend the path")
    return path


def open_image(picture: Picture, pauses_s: Sequence[float] = PAUSES_S) -> Image.Image:
    """A picture upright, in RGB, decoded. A file that can't be read is tried again after each pause.

    Raises:
        ImageError: the file can't be read, is empty, cut off or no picture; and as `image_size`.
    """
    return _patiently(lambda: _decoded(picture), picture, pauses_s)


def image_size(picture: Picture, pauses_s: Sequence[float] = PAUSES_S) -> tuple[int, int]:
    """Width and height of what `open_image` gives, in pixels, from the head of a file alone.

    Raises:
        ImageError: the head is not that of a picture, or it has more pixels than Pillow's limit, or one side is more
            than 200 times the other.
    """
    return _patiently(lambda: upright_size(picture), picture, pauses_s)


def content_digest(picture: Picture, pauses_s: Sequence[float] = PAUSES_S) -> str:
    """SHA-256 of a picture's file, or of what `open_image` gives of a decoded one, in hexadecimal digits.

    Raises:
        ImageError: the file can't be read.
    """
    if isinstance(picture, Image.Image):
        seen = open_image(picture, pauses_s)  # in colours: a palette or EXIF may tell equal bytes apart
        content = f"{seen.size} ".encode() + seen.tobytes()
    else:
        content = _patiently(
            lambda: picture.read_bytes() if isinstance(picture, Path) else picture, picture, pauses_s
        )
    return hashlib.sha256(content).hexdigest()


def verify(picture: Picture, how: Literal["full", "header"] = "full") -> None:
    """Raises ImageError if `open_image` would, or with "header" if `image_size` would.

    Files are decoded once, however many records name them.
    """
    if how == "header":
        image_size(picture)
    elif isinstance(picture, Path):
        found = _patiently(picture.stat, picture, PAUSES_S)
        _decode_once(picture, found.st_mtime_ns, found.st_size)
    else:
        open_image(picture)


@lru_cache(maxsize=100_000)
def _decode_once(picture: Path, mtime_ns: int, size: int) -> None:
    open_image(picture)


def _decoded(picture: Picture) -> Image.Image:
    width, height = upright_size(picture)
    with _decoding.of(width * height):
        # Read first, so that no disk fails inside a decoder, which would call the picture broken.
        with opened(picture.read_bytes() if isinstance(picture, Path) else picture) as image:
            if image is picture:
                image = ImageOps.exif_transpose(image)  # the caller's own stays as it is
            else:
                ImageOps.exif_transpose(image, in_place=True)
            return (to_eight_bit(image) if image.mode in DEEP_MODES else image).convert("RGB")


def _patiently(read: Callable[[], T], picture: Picture, pauses_s: Sequence[float]) -> T:
    """What `read` gives, tried again after each pause where the disk fails: network disks come back."""
    pauses = iter(pauses_s)
    while True:
        try:
            with _explained(picture):
                return read()
        except OSError as error:
            pause_s = None if error.errno in LASTING else next(pauses, None)
            if pause_s is None:
                raise ImageError(
                    f"{named(picture)} can't be read ({error.strerror}); see to the disk, mend the path or take the "
                    "record out"
                ) from None
            logger.warning("%s can't be read (%s); again in %g s", named(picture), error.strerror, pause_s)
            time.sleep(pause_s)


@contextmanager
def _explained(picture: Picture) -> Iterator[None]:
    """What a decoder says of a picture as an ImageError; what the system says of its file passes."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_large(picture) from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{named(picture)} is not a picture that Pillow can read; expected {', '.join(formats())}; replace it"
        ) from None
    except Exception as error:  # on broken bytes Pillow's decoders raise whatever there is
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error)[:200] or type(error).__name__
        raise ImageError(f"{named(picture)} can't be decoded ({reason}); replace it") from None


def uri_of(content: bytes, kind: str) -> str:
    """An address that holds its content."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def address_of(picture: Picture) -> str:
    """Where another program finds a picture: the path of its file, or an address that holds it.

    Raises:
        ImageError: its bytes are no picture.
    """
    if isinstance(picture, Path):
        return str(picture)
    content, kind = encoded(picture)
    return uri_of(content, Image.MIME[kind])


def encoded(picture: bytes | Image.Image) -> tuple[bytes, str]:
    """What a file of a picture holds, and its format as Pillow calls it; of a decoded one as PNG.

    Raises:
        ImageError: its bytes are no picture.
    """
    if isinstance(picture, bytes):
        with opened(picture) as image:
            return picture, image.format
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue(), "PNG"
