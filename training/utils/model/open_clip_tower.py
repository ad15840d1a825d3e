"""Vision towers of open_clip as transformers models, so that they are saved, loaded and frozen like others.

All of open_clip's kinds: its own vision transformers, what it takes from timm (SigLIP, ConvNeXt, ...), and ResNets.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


def _visual() -> ModuleType:
    """Imported when there is such a tower: open_clip with timm takes more than a second of each start."""
    from . import open_clip_visual

    return open_clip_visual


class OpenClipConfig(PretrainedConfig):
    """What open_clip says of an architecture, so that a saved tower needs no name that it knows."""

    model_type = "open_clip_vision"

    def __init__(
        self,
        vision: dict | None = None,
        quick_gelu: bool = False,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            vision: `vision_cfg` of the architecture.
            hidden_size: size of a feature of the last layer.
            num_hidden_layers: how many layers have features to take.
        """
        super().__init__(**kwargs)
        self.vision, self.quick_gelu = vision or {}, quick_gelu
        self.hidden_size, self.num_hidden_layers = hidden_size, num_hidden_layers
        sizes = _visual().sizes(self.vision)
        self.image_size = sizes.image_size
        # As the projector `vit`, which adds a layer of CLIP's kind, wants to know them:
        self.num_attention_heads = max(1, hidden_size // sizes.head_width)
        self.intermediate_size = int(hidden_size * sizes.mlp_ratio)
        self.hidden_act, self.layer_norm_eps, self.attention_dropout = "gelu", 1e-5, 0.0


class OpenClipVision(PreTrainedModel):
    """The features after each layer: the class token, where there is one, and the patches."""

    config_class = OpenClipConfig
    main_input_name = "pixel_values"
    _no_split_modules = ["ResidualAttentionBlock"]
    _supports_sdpa = True

    def __init__(self, config: OpenClipConfig) -> None:
        super().__init__(config)
        self.visual = _visual().build(config.vision, config.hidden_size, config.quick_gelu)
        self.post_init()

    @classmethod
    def of(cls, name: str, weights: str) -> "OpenClipVision":
        """The tower of an architecture by its name, from a checkpoint file, read without running code from it.

        Without a file its weights are random.

        Raises:
            DataError: open_clip does not know the name, or the kind of the tower has no features of patches.
        """
        settings, visual = _visual().create(name, weights)
        config = OpenClipConfig(settings["vision_cfg"], settings.get("quick_gelu", False))
        with torch.no_grad():
            pixels = torch.zeros(1, 3, config.image_size, config.image_size)
            layers = _visual().features(visual, pixels)
        config = OpenClipConfig(config.vision, config.quick_gelu, layers[-1].shape[-1], len(layers))
        model = cls(config)
        model.visual = visual
        return model

    def _init_weights(self, module: nn.Module) -> None:
        """open_clip has done it."""

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutput:
        hidden = _visual().features(self.visual, pixel_values.to(self.dtype))
        return BaseModelOutput(last_hidden_state=hidden[-1], hidden_states=hidden)


AutoConfig.register(OpenClipConfig.model_type, OpenClipConfig)
AutoModel.register(OpenClipConfig, OpenClipVision)
