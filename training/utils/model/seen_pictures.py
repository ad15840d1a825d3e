"""A picture as a model sees it: what an image processor made of it, as pictures again.

How a processor lays pixels out is told by the tensors that it gives (transformers' image processors), C = 3 channels:

    pixel_values [..., C, height, width]                        one picture, or its tiles
    pixel_values [patches, C * frames * side * side] and
    image_grid_thw [1, 3]                                       Qwen-VL, GLM-4V: patches, grouped as they are merged
"""

import torch
from PIL import Image
from torch import Tensor

NUM_CHANNELS = 3


def seen_pictures(processor, vision: dict[str, Tensor]) -> list[Image.Image]:
    """The picture that some tensors hold, or its tiles in their order; nothing if the layout is not known.

    Args:
        vision: of one picture, as `Family.image_inputs` gives them.
    """
    pixels, grid = vision.get("pixel_values"), vision.get("image_grid_thw")
    if pixels is None:
        return []
    images = processor.image_processor
    if pixels.dim() == 2 and grid is not None and len(grid) == 1:
        pixels = _from_patches(pixels, grid[0].tolist(), images.patch_size, images.merge_size)
    if pixels.dim() < 4 or pixels.shape[-3] != NUM_CHANNELS:
        return []
    tiles = pixels.reshape(-1, *pixels.shape[-3:]).float()
    tiles = tiles[[bool(tile.any()) for tile in tiles]]  # others pad the number of tiles
    if images.do_normalize:
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (images.image_mean, images.image_std))
        tiles = tiles * std + mean
    if images.do_rescale:
        tiles = tiles / images.rescale_factor
    tiles = tiles.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return [Image.fromarray(tile.contiguous().numpy()) for tile in tiles]


def _from_patches(pixels: Tensor, grid: list[int], side: int, merge: int) -> Tensor:
    """Patches as one picture, [1, C, height, width]; of several frames, which a picture fills alike, the first."""
    _, rows, columns = grid
    patches = pixels.reshape(rows // merge, columns // merge, merge, merge, NUM_CHANNELS, -1, side, side)
    patches = patches[:, :, :, :, :, 0].permute(4, 0, 2, 5, 1, 3, 6)  # C, then rows, then columns
    return patches.reshape(1, NUM_CHANNELS, rows * side, columns * side)
