"""Vision towers of open_clip as transformers models, so that they are saved, loaded and frozen like others.

All of open_clip's kinds: its own vision transformers, what it takes from timm (SigLIP, ConvNeXt, ...), and ResNets.
"""

from typing import Any

import open_clip
import torch
from open_clip.model import CLIPVisionCfg, _build_vision_tower
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from ..data.record import DataError


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
        sizes = CLIPVisionCfg(**self.vision)
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
        sizes = CLIPVisionCfg(**config.vision | {"timm_model_pretrained": False})
        self.visual = _without_pooling(
            _build_vision_tower(config.hidden_size, sizes, quick_gelu=config.quick_gelu)
        )
        self.post_init()

    @classmethod
    def of(cls, name: str, weights: str) -> "OpenClipVision":
        """The tower of an architecture by its name, from a checkpoint file, read without running code from it.

        Without a file its weights are random.
        """
        settings = open_clip.get_model_config(name)
        if settings is None:
            raise DataError(
                f"open_clip:{name}: unknown; expected one of {', '.join(open_clip.list_models())}"
            )
        whole = open_clip.create_model(name, pretrained=weights or None, weights_only=True)
        visual = _without_pooling(whole.visual.eval())
        config = OpenClipConfig(settings["vision_cfg"], settings.get("quick_gelu", False))
        with torch.no_grad():
            layers = _features(visual, torch.zeros(1, 3, config.image_size, config.image_size))
        config = OpenClipConfig(config.vision, config.quick_gelu, layers[-1].shape[-1], len(layers))
        model = cls(config)
        model.visual = visual
        return model

    def _init_weights(self, module: nn.Module) -> None:
        """open_clip has done it."""

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutput:
        hidden = _features(self.visual, pixel_values)
        return BaseModelOutput(last_hidden_state=hidden[-1], hidden_states=hidden)


def _without_pooling(visual: nn.Module) -> nn.Module:
    """A tower without what comes after its features: pooling, and the projection into a space shared with texts."""
    if isinstance(visual, VisionTransformer):
        visual.proj = None
    elif isinstance(visual, TimmModel):
        visual.trunk.reset_classifier(0, global_pool="")
        visual.head = nn.Identity()
    elif isinstance(visual, ModifiedResNet):
        visual.attnpool = nn.Identity()
    else:
        raise DataError(f"open_clip: a tower of the kind {type(visual).__name__} has no features of patches")
    return visual


def _features(visual: nn.Module, pixel_values: Tensor) -> tuple[Tensor, ...]:
    """The features after each layer, [I, N, V]; N and V may differ between the layers of a convolutional tower."""
    if isinstance(visual, VisionTransformer):
        out = visual.forward_intermediates(
            pixel_values, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
        )
        layers = zip(out["image_intermediates_prefix"], out["image_intermediates"], strict=True)
        return tuple(torch.cat(pair, dim=1) for pair in layers)
    out = visual.forward_intermediates(pixel_values, intermediates_only=True)
    return tuple(grid.flatten(2).transpose(1, 2) for grid in out["image_intermediates"])


AutoConfig.register(OpenClipConfig.model_type, OpenClipConfig)
AutoModel.register(OpenClipConfig, OpenClipVision)
