"""GLM-4V (arXiv 2507.01006): a tower and positions like Qwen's, with marks of its own around an image."""

from torch import nn
from transformers import PretrainedConfig

from .qwen_vl import FrozenVisual, QwenVL


class GLM4V(QwenVL):
    model_types = ("glm4v",)

    def image_text(self, processor) -> str:
        return f"<|begin_of_image|>{self.marker(processor)}<|end_of_image|>"

    def frozen_tower(self, tower: nn.Module, config: PretrainedConfig) -> nn.Module:
        return FrozenVisual(tower, patches_merged=1)  # its tower ends with a convolution that merges them
