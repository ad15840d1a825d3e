"""The LLaVA of the benchmarks, as configs: small enough for a CPU, with a picture of 576 tokens."""

from dataclasses import dataclass
from typing import Any

from transformers import CLIPVisionConfig, LlamaConfig


@dataclass(frozen=True)
class Size:
    """Hidden size of both parts, their layers, side of a picture, rows of the embedding."""

    hidden_size: int = 256
    num_layers: int = 4
    tower_layers: int = 6
    picture_px: int = 336
    vocab_size: int = 32_064

    @property
    def vision(self) -> CLIPVisionConfig:
        return CLIPVisionConfig(
            hidden_size=self.hidden_size,
            intermediate_size=4 * self.hidden_size,
            num_hidden_layers=self.tower_layers,
            num_attention_heads=4,
            image_size=self.picture_px,
            patch_size=14,
        )

    def text(self, **more: Any) -> LlamaConfig:
        return LlamaConfig(
            hidden_size=self.hidden_size,
            intermediate_size=self.hidden_size * 43 // 16,
            num_hidden_layers=self.num_layers,
            num_attention_heads=4,
            vocab_size=self.vocab_size,
            **more,
        )
