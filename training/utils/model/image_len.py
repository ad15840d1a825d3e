"""How many tokens a picture becomes, by its size alone: a data set of a million pictures is checked without them."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

from ..data.record import DataError

if TYPE_CHECKING:
    from .family import Family

Formula = Callable[[tuple[int, int]], int]  # of a width and height
PROBES = ((64, 64), (97, 41), (300, 1000), (1000, 300), (1700, 1300))  # width, height


@lru_cache(maxsize=8)
def image_lengths(family: "Family", processor) -> "ImageLengths":
    """Those of a processor, whose settings no longer change."""
    return ImageLengths(family, processor)


class ImageLengths:
    """Tokens of a picture by its size, each size counted once.

    A processor's own formula counts, if what it says of some probes differs from what the processor really makes of
    them by nothing or by one number (marks around a picture, which some leave out). Else the processor is run on a
    blank picture.
    """

    def __init__(self, family: "Family", processor) -> None:
        self._expand: Formula = lambda size: len(
            family.image_inputs(processor, [Image.new("RGB", size)])[1][0]
        )
        self._count = _proven(family.image_len_formula(processor), self._expand) or self._expand
        self._known: dict[tuple[int, int], int] = {}

    def __call__(self, size: tuple[int, int]) -> int:
        """Tokens of a picture of that width and height.

        Raises:
            DataError: the processor does not take such a picture.
        """
        if size not in self._known:
            try:
                self._known[size] = self._count(size)
            except Exception as error:  # processors say no in all ways
                raise DataError(
                    f"the processor takes no picture of {size[0]} x {size[1]} pixels ({error}); resize or crop it"
                ) from error
        return self._known[size]


def _proven(formula: Formula | None, expand: Formula) -> Formula | None:
    if formula is None:
        return None
    try:
        marks = {expand(size) - formula(size) for size in PROBES}
    except Exception:  # not made for this processor's settings
        return None
    left_out = marks.pop()
    return (lambda size: formula(size) + left_out) if not marks else None
