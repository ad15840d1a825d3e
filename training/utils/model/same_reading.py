"""Whether two models read alike: then what is made of a record for one is right for the other."""

import torch
from PIL import Image
from torch import Tensor

from ..data.encode import Encoder
from ..data.record import MARKER, Turn
from .image_settings import bounds


def reads_the_same(one: Encoder, other: Encoder) -> bool:
    """Whether two models read the same tokens and pixels of a record; seen on one with a picture."""
    if one.template_name != other.template_name or one.tokenizer.get_vocab() != other.tokenizer.get_vocab():
        return False
    if bounds(one.processor) != bounds(other.processor):  # they differ on larger pictures than the one below
        return False
    if one.vocabulary.word_ids != other.vocabulary.word_ids:
        return False
    (ids, pixels), (other_ids, other_pixels) = _probe(one), _probe(other)
    return (
        ids == other_ids
        and pixels.keys() == other_pixels.keys()
        and all(torch.equal(pixels[name], other_pixels[name]) for name in pixels)
    )


def _probe(encoder: Encoder) -> tuple[list, dict[str, Tensor]]:
    """Token ids and pixels of a conversation about a picture."""
    picture = Image.new("RGB", (96, 64), (200, 100, 50))
    turns = [Turn("user", f"{MARKER}\nWhat?"), Turn("assistant", "That."), Turn("user", "Why?")]
    pixels, expansions = encoder.family.image_inputs(encoder.processor, [picture])
    return [encoder.prompt_ids(turns, expansions), encoder.response_ids("So.")], pixels
