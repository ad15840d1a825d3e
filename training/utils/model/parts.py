"""What transformers calls the parts of `model.model`, by convention. A model has some of these."""

from collections.abc import Sequence
from copy import copy
from operator import attrgetter

from torch import nn

VISION_TOWERS = ("vision_tower", "vision_model", "visual")
PROJECTORS = (
    "multi_modal_projector",
    "connector",
    "image_newline",
    "visual.merger",
    "visual.deepstack_merger_list",
)
LANGUAGE_MODELS = ("language_model", "text_model")


def apart(module: nn.Module) -> nn.Module:
    """The same module, in which a part can be replaced without anybody else noticing."""
    twin = copy(module)
    twin._modules = dict(module._modules)
    return twin


def present(module: nn.Module, names: Sequence[str]) -> list[str]:
    """Which of these dotted names lead to a part of the module."""
    found = []
    for name in names:
        try:
            part = attrgetter(name)(module)
        except AttributeError:
            continue
        if part is not None:
            found.append(name)
    return found
