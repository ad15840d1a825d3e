"""What turns features of the vision tower into tokens of the language model, for models built from scratch.

Notation: I images, N features of an image, V size of a feature, D size of a token, Q queries.
"""

from math import isqrt

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.models.clip.modeling_clip import CLIPEncoderLayer
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

LAYER_NORM_EPS = 1e-12
HEAD_SIZE = 128  # of the perceiver's attention


class Baseline(nn.Sequential):
    """A linear layer and a layer norm, [I, N, V] -> [I, N, D]."""

    def __init__(self, config: PretrainedConfig) -> None:
        vision_size, text_size = config.vision_config.hidden_size, config.text_config.hidden_size
        super().__init__(nn.Linear(vision_size, text_size), nn.LayerNorm(text_size, eps=LAYER_NORM_EPS))


class Vit(nn.Module):
    """One more transformer layer over the features, then the baseline, [I, N, V] -> [I, N, D]."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.layer = CLIPEncoderLayer(config.vision_config)
        self.project = Baseline(config)

    def forward(self, features: Tensor) -> Tensor:
        return self.project(self.layer(features, attention_mask=None))


class Perceiver(nn.Module):
    """Learned queries on a square grid that attend to the features (arXiv 2308.12966, section 2), [I, N, V] ->
    [I, Q, D]. The features lie on a square grid too, over the same picture: where they are is added to their keys."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        vision_size, size = config.vision_config.hidden_size, config.text_config.hidden_size
        self.queries = nn.Parameter(torch.randn(config.num_queries, size) * 0.02)
        self.features = nn.Linear(vision_size, size, bias=False)
        self.query_norm = nn.LayerNorm(size)
        self.feature_norm = nn.LayerNorm(size)
        self.attention = nn.MultiheadAttention(size, max(1, size // HEAD_SIZE), batch_first=True)
        self.output = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, size))

    def forward(self, features: Tensor) -> Tensor:
        values = self.feature_norm(self.features(features))
        queries = self.query_norm(self.queries) + self.places(len(self.queries)).to(values)
        queries = queries.expand(len(values), -1, -1)
        keys = values + self.places(values.shape[1]).to(values)
        return self.output(self.attention(queries, keys, values, need_weights=False)[0])

    def places(self, num_points: int) -> Tensor:
        """What is added to points of a square grid over the picture, [num_points, D]."""
        return grid_positions(num_points, self.queries.shape[1], frame=isqrt(len(self.queries)))


class LegacyPerceiver(Perceiver):
    """As Vision-LLM-Alignment has it: the features get a bias, columns come before rows, the positions of the queries
    are weights that were trained, and those of the features are made of them by bicubic interpolation."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        num_queries, size = self.queries.shape
        self.features = nn.Linear(config.vision_config.hidden_size, size)
        for norm in (self.query_norm, self.feature_norm, self.output[0]):
            norm.eps = LAYER_NORM_EPS
        rows, columns = grid_positions(num_queries, size, frame=isqrt(num_queries)).chunk(2, dim=1)
        self.positions = nn.Parameter(torch.cat([columns, rows], dim=1))

    def places(self, num_points: int) -> Tensor:
        side = isqrt(num_points)
        grid = self.positions.T.unflatten(1, (isqrt(len(self.queries)), -1))[None]
        if grid.shape[-1] != side:
            grid = nn.functional.interpolate(grid.float(), (side, side), mode="bicubic", align_corners=False)
        return grid[0].flatten(1).T


PROJECTORS: dict[str, type[nn.Module]] = {
    "baseline": Baseline,
    "vit": Vit,
    "perceiver": Perceiver,
    "mlp2x_gelu": LlavaMultiModalProjector,
}
LEGACY_PROJECTORS = {**PROJECTORS, "perceiver": LegacyPerceiver}


def grid_positions(num_points: int, size: int, frame: int) -> Tensor:
    """Sines and cosines of row and column of a square grid of points, [num_points, D]: a half of D for each.

    Args:
        frame: the picture is this wide and high; the points divide it evenly.
    """
    side = isqrt(num_points)
    place = (torch.arange(side) + 0.5) * frame / side - 0.5
    row, column = place.repeat_interleave(side), place.repeat(side)
    frequency = 10_000 ** -(torch.arange(0, size // 4) / (size // 4))
    angles = [at[:, None] * frequency for at in (row, column)]
    waves = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
    return nn.functional.pad(waves, (0, size - waves.shape[1]))
