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
        side, size = isqrt(len(self.queries)), self.queries.shape[1]
        queries = self.query_norm(self.queries) + grid_positions(len(self.queries), size, side).to(values)
        queries = queries.expand(len(values), -1, -1)
        keys = values + grid_positions(values.shape[1], size, side).to(values)
        return self.output(self.attention(queries, keys, values, need_weights=False)[0])


PROJECTORS: dict[str, type[nn.Module]] = {
    "baseline": Baseline,
    "vit": Vit,
    "perceiver": Perceiver,
    "mlp2x_gelu": LlavaMultiModalProjector,
}


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
