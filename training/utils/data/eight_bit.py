"""Pictures of more than 8 bits a sample as pictures of 8 bits, by a fixed rule: medical scans, depth maps, science.

Pillow and transformers clip such samples: a 16-bit picture turns white, a float one black. Here they are scaled:

    16-bit integers      all of 0..65535 (12-bit TIFF: 0..4095) becomes 0..255, rounded
    32-bit integers      0..255 as it stands, 0..65535 like 16 bits; other values are refused
    32-bit floats        0..1 becomes 0..255, 0..255 is rounded; other values are refused

The range is the format's, never the picture's own darkest and lightest: pictures of one data set stay comparable.
A grey TIFF that counts from white (PhotometricInterpretation 0) is turned round.
"""

import numpy as np
from PIL import Image

DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's names of more than 8 bits a sample
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF tags


def to_eight_bit(image: Image.Image) -> Image.Image:
    """A grey picture of one of `DEEP_MODES` in mode L.

    Raises:
        ValueError: its values have no range that says what is white; the message says which they have.
    """
    values = np.asarray(image)
    grey = _from_floats(values) if image.mode == "F" else _from_integers(values, _white(image, values))
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey
    return Image.fromarray(grey)


def _white(image: Image.Image, values: np.ndarray) -> int:
    """The value of white in a picture of integers."""
    if image.mode != "I":
        bits = getattr(image, "tag_v2", {}).get(BITS, (16,))[0]
        return (1 << bits) - 1
    if image.format in ("PNG", "PPM"):  # 16 bits in a wider mode
        return 65535
    return 255 if values.max() <= 255 else 65535


def _from_integers(values: np.ndarray, white: int) -> np.ndarray:
    if values.min() < 0 or values.max() > white:
        raise ValueError(
            f"its integers lie between {values.min()} and {values.max()}; expected 0 to 255, or 0 to 65535"
        )
    return np.round(np.arange(white + 1) * 255 / white).astype(np.uint8)[values]


def _from_floats(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()  # NaN if one is
    if not 0 <= low <= high <= 255:
        raise ValueError(f"its numbers lie between {low} and {high}; expected 0 to 1, or 0 to 255")
    return np.round(values * (255 if high <= 1 else 1)).astype(np.uint8)
