"""Idefics3 and SmolVLM: images in tiles, each with marks of its row and column around its tokens."""

from .family import PaddedImages


class Idefics(PaddedImages):
    model_types = ("idefics3", "smolvlm")
