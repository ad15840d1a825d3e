"""InternVL: a vision transformer on tiles of the image, a projector, a Qwen or LLaMA decoder."""

from .family import Family


class InternVL(Family):
    """Follows the conventions throughout."""

    model_types = ("internvl",)
