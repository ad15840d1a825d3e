"""Idefics3 and SmolVLM: images in tiles, each with marks of its row and column around its tokens."""

from transformers import Idefics3Processor

from .image_len import Formula
from .padded_images import PaddedImages


class Idefics(PaddedImages):
    model_types = ("idefics3", "smolvlm")

    def image_len_formula(self, processor) -> Formula:
        count = Idefics3Processor._get_num_multimodal_tokens  # SmolVLM's counts the same, and does not say so
        return lambda size: count(processor, image_sizes=[size[::-1]]).num_image_tokens[0]
