"""Models: families, heads, adapters, generation."""

from .. import torchvision as torchvision  # is mended before transformers or open_clip asks for it
