"""Opening pictures, safely: inside one folder, whole, and not a decompression bomb."""

import warnings
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from .record import DataError


class ImageError(DataError):
    """A picture can't be used; the message says why."""


def locate(name: str, folder: Path) -> Path:
    """The file of a picture.

    Raises:
        ImageError: the path leads out of `folder`, also by a link, or to nothing.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ImageError(f"image {name!r} lies outside {folder}; expected a path inside --image_folder")
    if not path.is_file():
        raise ImageError(f"image {name!r} is not in {folder}; set --image_folder or mend the path")
    return folder / name


def verify(image: Path | bytes | Image.Image, how: str = "full") -> None:
    """Raises ImageError if `open_image` would. Files are decoded once, however many records name them."""
    if isinstance(image, Path) and not (stat := image.stat()).st_size == 0:
        _decode_once(image, stat.st_mtime_ns, stat.st_size)
    else:
        open_image(image)


@cache
def _decode_once(image: Path, mtime_ns: int, size: int) -> None:
    open_image(image)


def image_size(image: Path | bytes | Image.Image) -> tuple[int, int]:
    if isinstance(image, Image.Image):
        return image.size
    with Image.open(BytesIO(image) if isinstance(image, bytes) else image) as opened:
        return opened.size


def open_image(image: Path | bytes | Image.Image) -> Image.Image:
    """A picture in RGB, decoded.

    Raises:
        ImageError: the file is empty, cut off, not a picture, or so large that it may be an attack.
    """
    if isinstance(image, bytes):
        return open_image(Image.open(BytesIO(image)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if isinstance(image, Image.Image):
                return image.convert("RGB")
            if image.stat().st_size == 0:
                raise ImageError(f"image {str(image)!r} is an empty file; replace it")
            with Image.open(image) as opened:
                return opened.convert("RGB")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ImageError(
            f"image {str(image)!r} has more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller"
        ) from None
    except UnidentifiedImageError:
        raise ImageError(f"image {str(image)!r} is not a picture that Pillow can read; replace it") from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"image {str(image)!r} can't be decoded ({error}); replace it") from None
