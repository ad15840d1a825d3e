"""Vision towers of open_clip as transformers models, so that they are saved, loaded and frozen like others."""

from typing import Any

import open_clip
import torch
from open_clip.model import CLIPVisionCfg, _build_vision_tower
from open_clip.transformer import VisionTransformer
from torch import Tensor
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from ..data.record import DataError


class OpenClipConfig(PretrainedConfig):
    """What open_clip says of an architecture, so that a saved tower needs no name that it knows."""

    model_type = "open_clip_vision"

    def __init__(self, vision: dict | None = None, quick_gelu: bool = False, **kwargs: Any) -> None:
        """
        Args:
            vision: `vision_cfg` of the architecture.
        """
        super().__init__(**kwargs)
        self.vision, self.quick_gelu = vision or {}, quick_gelu
        sizes = CLIPVisionCfg(**self.vision)
        self.image_size, self.patch_size, self.hidden_size = sizes.image_size, sizes.patch_size, sizes.width
        self.num_hidden_layers = sizes.layers
        # As the projector `vit`, which adds a layer of CLIP's kind, wants to know them:
        self.num_attention_heads = sizes.width // sizes.head_width
        self.intermediate_size = int(sizes.width * sizes.mlp_ratio)
        self.hidden_act, self.layer_norm_eps, self.attention_dropout = "gelu", 1e-5, 0.0


class OpenClipVision(PreTrainedModel):
    """The class token and the patches, after each layer."""

    config_class = OpenClipConfig
    main_input_name = "pixel_values"
    _no_split_modules = ["ResidualAttentionBlock"]
    _supports_sdpa = True

    def __init__(self, config: OpenClipConfig) -> None:
        super().__init__(config)
        sizes = CLIPVisionCfg(**config.vision)
        self.visual = _build_vision_tower(config.hidden_size, sizes, quick_gelu=config.quick_gelu)
        self.visual.proj = None  # into the space shared with texts: features are taken before it
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
        if not isinstance(whole.visual, VisionTransformer):
            raise DataError(
                f"open_clip:{name}: its tower is no vision transformer; choose one that is, as ViT-L-14"
            )
        model = cls(OpenClipConfig(settings["vision_cfg"], settings.get("quick_gelu", False)))
        model.visual = whole.visual
        model.visual.proj = None
        return model

    def _init_weights(self, module: torch.nn.Module) -> None:
        """open_clip has done it."""

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutput:
        out = self.visual.forward_intermediates(
            pixel_values, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
        )
        layers = zip(out["image_intermediates_prefix"], out["image_intermediates"], strict=True)
        hidden = tuple(torch.cat(pair, dim=1) for pair in layers)
        return BaseModelOutput(last_hidden_state=hidden[-1], hidden_states=hidden)


AutoConfig.register(OpenClipConfig.model_type, OpenClipConfig)
AutoModel.register(OpenClipConfig, OpenClipVision)
