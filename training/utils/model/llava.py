"""LLaVA and LLaVA-1.5 (arXiv 2304.08485, 2310.03744): CLIP, a two-layer projector, a LLaMA decoder."""

from .family import Family


class Llava(Family):
    """Follows the conventions throughout."""

    model_types = ("llava",)
