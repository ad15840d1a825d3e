"""The `visual` of an open_clip model: made, and asked for the features after each layer."""

import open_clip
import torch
from open_clip.model import CLIPVisionCfg, _build_vision_tower
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from ..data.record import DataError


def sizes(vision: dict) -> CLIPVisionCfg:
    """All that open_clip says of a tower.

    Args:
        vision: `vision_cfg` of the architecture.
    """
    return CLIPVisionCfg(**vision | {"timm_model_pretrained": False})


def build(vision: dict, hidden_size: int, quick_gelu: bool) -> nn.Module:
    """A tower with random weights."""
    return _without_pooling(_build_vision_tower(hidden_size, sizes(vision), quick_gelu=quick_gelu))


def create(name: str, weights: str) -> tuple[dict, nn.Module]:
    """What open_clip says of an architecture, and its tower from a checkpoint file, or with random weights.

    Raises:
        DataError: open_clip does not know the name, or the kind of the tower has no features of patches.
    """
    settings = open_clip.get_model_config(name)
    if settings is None:
        raise DataError(f"open_clip:{name}: unknown; expected one of {', '.join(open_clip.list_models())}")
    whole = open_clip.create_model(name, pretrained=weights or None, weights_only=True)
    return settings, _without_pooling(whole.visual.eval())


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


def features(visual: nn.Module, pixel_values: Tensor) -> tuple[Tensor, ...]:
    """The features after each layer, [I, N, V]; N and V may differ between the layers of a convolutional tower."""
    if isinstance(visual, VisionTransformer):
        out = visual.forward_intermediates(
            pixel_values, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
        )
        layers = zip(out["image_intermediates_prefix"], out["image_intermediates"], strict=True)
        return tuple(torch.cat(pair, dim=1) for pair in layers)
    out = visual.forward_intermediates(pixel_values, intermediates_only=True)
    return tuple(grid.flatten(2).transpose(1, 2) for grid in out["image_intermediates"])
