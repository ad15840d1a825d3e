"""LLaVA and LLaVA-1.5 (arXiv 2304.08485, 2310.03744): CLIP, a two-layer projector, a LLaMA decoder; Pixtral (arXiv
2410.07073) and Mistral 3, whose tower keeps an image's shape."""

from .family import PaddedImages


class Llava(PaddedImages):
    """Follows the conventions throughout."""

    model_types = ("llava",)


class Mistral3(PaddedImages):
    """Follows the conventions throughout."""

    model_types = ("mistral3",)
