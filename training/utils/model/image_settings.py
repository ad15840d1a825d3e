"""What a user sets of an image processor: how many pixels a picture keeps, and padding to a square.

Which settings a processor has is told by its fields (transformers' image processors):

    size.shortest_edge, size.longest_edge, merge_size    Qwen-VL, GLM-4V: bounds of the number of pixels
    size.longest_edge alone                              Pixtral, Mistral 3, Idefics3, SmolVLM: the long side
    max_patches                                          InternVL: tiles of size.height x size.width
    do_center_crop                                       CLIP of LLaVA-1.5: what is not square is cut

The others bring every picture to one size, or their tiles are part of the model's config (LLaVA-NeXT). The processor
is saved with every model that is trained with it, so whatever loads that model sees pictures of the same pixels.
"""

import logging
import math
from collections.abc import Callable

import transformers as hf
from PIL import Image

from ..config.model_config import ModelConfig
from ..data.record import DataError
from .family import Family

IMAGE_SHARE = 0.75  # of --max_seq_len, that one picture takes at most: the rest is for question and answer
LARGE = 10_000  # pixels of a side: every processor makes such a picture smaller

logger = logging.getLogger(__name__)
Count = Callable[[tuple[int, int]], int]  # tokens of a picture of a width and height


def apply_image_flags(processor, family: Family, config: ModelConfig, keep_limit: bool) -> None:
    """Sets a processor as --max_pixels, --min_pixels and --image_aspect_ratio ask, and says what pictures it takes.

    Args:
        keep_limit: the checkpoint was trained by this project, so the limit without --max_pixels is the one that it
            was trained with. A published one may take more than --max_seq_len for one picture: it is lowered.

    Raises:
        DataError: the processor has no such setting.
    """
    if config.image_aspect_ratio == "pad":
        pad_to_square(processor)
    limit = pixel_limit(processor)
    if limit is None:
        if config.max_pixels or config.min_pixels:
            raise DataError(
                f"--max_pixels, --min_pixels: {_class_name(processor)} brings every picture to the sizes that its "
                "model was built for; leave them out, and raise --max_seq_len if a picture takes too many tokens"
            )
        return
    if config.max_pixels:
        limit.set(config.max_pixels)
    elif not keep_limit:
        limit.lower(
            int(IMAGE_SHARE * config.max_seq_len),
            lambda size: len(family.image_inputs(processor, [Image.new("RGB", size)])[1][0]),
        )
    if config.min_pixels:
        limit.set_min(config.min_pixels)
    logger.info(
        "a picture keeps at most %s pixels (%s); larger ones are scaled down; --max_pixels sets another limit",
        f"{limit.pixels:,}",
        "as the checkpoint was trained" if keep_limit and not config.max_pixels else limit.unit,
    )


def is_scaled(processor, size: tuple[int, int]) -> bool:
    """Whether a picture of that width and height has more pixels than it may keep."""
    limit = pixel_limit(processor)
    return limit is not None and limit.cuts(size)


def bounds(processor) -> tuple:
    """What of the settings decides how large a picture becomes, to compare two processors."""
    images = processor.image_processor
    return dict(getattr(images, "size", None) or {}), getattr(images, "max_patches", None)


def pixel_limit(processor) -> "PixelLimit | None":
    """The limit that a processor has; none, if it brings every picture to sizes of its own."""
    images = processor.image_processor
    size = dict(getattr(images, "size", None) or {}).keys()
    if size == {"shortest_edge", "longest_edge"} and _has(
        images, "merge_size", "get_number_of_image_patches"
    ):
        return Area(processor)
    if size == {"longest_edge"} and (_has(images, "max_image_size") or _has(processor, "spatial_merge_size")):
        return LongSide(processor)
    if size == {"height", "width"} and _has(images, "min_patches", "max_patches"):
        return Tiles(processor)
    return None


def _has(owner: object, *names: str) -> bool:
    return all(hasattr(owner, name) for name in names)


class PixelLimit:
    """The most pixels that a picture keeps, in the fields of one kind of image processor."""

    unit: str  # what the limit counts

    def __init__(self, processor) -> None:
        self.processor = processor
        self.images = processor.image_processor

    @property
    def pixels(self) -> int:
        raise NotImplementedError

    def set(self, pixels: int) -> None:
        """Sets the limit to that many pixels, or the next lower one that the processor can keep."""
        raise NotImplementedError

    def set_min(self, pixels: int) -> None:
        raise DataError(f"--min_pixels: {_class_name(self.processor)} has no such setting; leave it out")

    def lower(self, tokens: int, count: Count) -> None:
        """Lowers the limit until one picture takes at most that many tokens, if that is possible."""
        raise NotImplementedError

    def cuts(self, size: tuple[int, int]) -> bool:
        return math.prod(size) > self.pixels

    def _resize(self, **edges: int) -> None:
        self.images.size = type(self.images.size)(**{**dict(self.images.size), **edges})


class Area(PixelLimit):
    unit = "their number is bounded"

    @property
    def _per_pixel(self) -> int:
        """How often a bound counts a pixel: GLM-4V counts those of all frames, of which a picture fills two."""
        scaled = self.images.get_number_of_image_patches(LARGE, LARGE) * self.images.patch_size**2
        return max(1, round(self.images.size["longest_edge"] / scaled))

    @property
    def pixels(self) -> int:
        return self.images.size["longest_edge"] // self._per_pixel

    def set(self, pixels: int) -> None:
        bound = max(pixels, self._token_pixels) * self._per_pixel
        self._resize(longest_edge=bound, shortest_edge=min(bound, self.images.size["shortest_edge"]))

    def set_min(self, pixels: int) -> None:
        if pixels > self.pixels:
            raise DataError(
                f"--min_pixels {pixels}: expected at most {self.pixels}, the most that a picture keeps"
            )
        self._resize(shortest_edge=pixels * self._per_pixel)

    def lower(self, tokens: int, count: Count) -> None:
        self.set(min(self.pixels, tokens * self._token_pixels))

    @property
    def _token_pixels(self) -> int:
        return (self.images.patch_size * self.images.merge_size) ** 2


class LongSide(PixelLimit):
    unit = "its long side is bounded"

    @property
    def pixels(self) -> int:
        return self.images.size["longest_edge"] ** 2

    def set(self, pixels: int) -> None:
        self._resize(longest_edge=max(1, math.isqrt(pixels) // self._step) * self._step)

    def lower(self, tokens: int, count: Count) -> None:
        while count((edge := self.images.size["longest_edge"], edge)) > tokens and edge > self._step:
            self.set((edge - 1) ** 2)

    def cuts(self, size: tuple[int, int]) -> bool:
        return max(size) > self.images.size["longest_edge"]

    @property
    def _step(self) -> int:
        """Pixels of a tile's side, or of a token's."""
        if tile := getattr(self.images, "max_image_size", None):
            return tile["longest_edge"]
        return self.processor.patch_size * self.processor.spatial_merge_size


class Tiles(PixelLimit):
    unit = "in tiles"

    @property
    def _tile_pixels(self) -> int:
        return self.images.size["height"] * self.images.size["width"]

    @property
    def pixels(self) -> int:
        return self.images.max_patches * self._tile_pixels

    def set(self, pixels: int) -> None:
        self.images.max_patches = max(self.images.min_patches, pixels // self._tile_pixels)

    def lower(self, tokens: int, count: Count) -> None:
        width, height = self.images.size["width"], self.images.size["height"]
        most = self.images.max_patches
        while most > self.images.min_patches and count((most * width, height)) > tokens:
            most -= 1
            self.images.max_patches = most


def pad_to_square(processor) -> None:
    """Has pictures padded to a square in the processor's mean colour, as LLaVA-1.5 was trained (`expand2square` in
    its code), where the published processor cuts both ends off.

    Raises:
        DataError: the processor does not cut to a square.
    """
    images = processor.image_processor
    padding = {
        hf.CLIPImageProcessor: hf.LlavaImageProcessor,
        hf.CLIPImageProcessorPil: hf.LlavaImageProcessorPil,
        hf.LlavaImageProcessor: hf.LlavaImageProcessor,
        hf.LlavaImageProcessorPil: hf.LlavaImageProcessorPil,
    }.get(type(images))
    if padding is None or not images.do_center_crop:
        raise DataError(
            f"--image_aspect_ratio pad: {_class_name(processor)} of this checkpoint cuts nothing off; expected a "
            "CLIPImageProcessor with do_center_crop, as of LLaVA-1.5; leave it out"
        )
    processor.image_processor = padding.from_dict(images.to_dict() | {"do_pad": True})


def _class_name(processor) -> str:
    return type(processor.image_processor).__name__
