"""InternVL: a vision transformer on tiles of the image, a projector, a Qwen or LLaMA decoder."""

from torch import nn
from transformers import PretrainedConfig

from .family import Family
from .tower import FrozenTower


class InternVL(Family):
    model_types = ("internvl",)

    def frozen_tower(self, tower: nn.Module, config: PretrainedConfig) -> FrozenTower:
        if config.vision_feature_layer == -1:
            return FrozenTower(tower, [])  # it reads the last state, and no hidden ones
        return super().frozen_tower(tower, config)
