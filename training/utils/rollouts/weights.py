"""The weights of a policy as other programs know them: merged, whole, and with their published names."""

import torch
from torch import Tensor

from ..model import save
from ..model.backbone import Adapted
from ..model.policy import Policy


@torch.no_grad()
def published_weights(policy: Policy) -> dict[str, Tensor]:
    """All weights by the names that they have in published checkpoints; adapters are merged into what they adapt."""
    model = policy.model
    if isinstance(model, Adapted):
        return save.published_weights(policy.family, model.whole(), model.whole_weights())
    return save.published_weights(policy.family, model, model.state_dict())
