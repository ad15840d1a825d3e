"""Families whose images differ in shape."""

from torch import Tensor

from .family import Family


class PaddedImages(Family):
    """`pixel_values` [I, pieces, channels, height, width] or [I, channels, height, width] are padded with zeros."""

    def stack_vision(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: _cat_padded([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _cat_padded(tensors: list[Tensor]) -> Tensor:
    """Concatenation along the first dimension, the others padded with zeros to the largest."""
    sizes = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    padded = tensors[0].new_zeros(sum(map(len, tensors)), *sizes)
    start = 0
    for tensor in tensors:
        padded[(slice(start, start + len(tensor)), *map(slice, tensor.shape[1:]))] = tensor
        start += len(tensor)
    return padded
