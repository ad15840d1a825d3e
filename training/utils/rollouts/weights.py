"""The weights of a policy as other programs know them: merged, whole, and with their published names."""

import torch
from torch import Tensor
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import revert_weight_conversion

from ..model.backbone import Adapted
from ..model.lora import merged
from ..model.parts import apart
from ..model.policy import Policy


@torch.no_grad()
def published_weights(policy: Policy) -> dict[str, Tensor]:
    """All weights by the names that they have in published checkpoints; adapters are merged into what they adapt."""
    family, model = policy.family, policy.model
    if isinstance(model, Adapted):
        model, weights = model.whole(), model.whole_weights()
    else:
        weights = model.state_dict()
    weights = merged(model, weights)
    tower = family.tower(model)
    model = apart(model)
    model.model = apart(model.model)
    if hasattr(tower, "whole"):
        name = family.tower_name(model)
        setattr(model.model, name, whole := tower.whole())
        weights = {f"model.{name}.{key}": t for key, t in whole.state_dict().items()} | weights
    model._weight_conversions = get_model_conversion_mapping(model, add_legacy=False)
    return revert_weight_conversion(model, weights)
