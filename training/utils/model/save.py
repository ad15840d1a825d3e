"""Model folders, with the names that the weights of a family have on the hub.

transformers names weights after its modules, and renames them when it loads a published checkpoint; that changes
from version to version. Other programs, as vLLM, know the published names. Here transformers' own tables of
conversions are read backwards, whatever file a model came from, or none.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    PrefixChange,
    WeightConverter,
    WeightTransform,
    rename_source_key,
    revert_weight_conversion,
)

from .lora import merged
from .parts import apart
from .unused_head import UnusedHead

if TYPE_CHECKING:
    from .family import Family

SHARD = "5GB"  # of weights in a file, at most: a usual size on the hub


def save_model(family: Family, model: PreTrainedModel, folder: Path, weights: dict[str, Tensor]) -> None:
    """Writes config, generation config and weights, as transformers and other programs load them. The model may be
    in use.

    Args:
        weights: state dict of `model`, without a frozen tower.
    """
    model, weights = _whole(family, model, weights)
    weights = {name: tensor.cpu() for name, tensor in weights.items()}
    model.save_pretrained(folder, state_dict=weights, max_shard_size=SHARD)


def published_weights(
    family: Family, model: PreTrainedModel, weights: dict[str, Tensor]
) -> dict[str, Tensor]:
    """What `save_model` would write: all weights by their published names, adapters merged."""
    return revert_weight_conversion(*_whole(family, model, weights))


def _whole(
    family: Family, model: PreTrainedModel, weights: dict[str, Tensor]
) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """The model as transformers has it, which knows how its weights are saved, and all of its weights. It shares its
    modules with the one that is in use."""
    weights = merged(model, weights)
    model = apart(model)
    model.model = apart(model.model)
    name, tower, head = family.tower_name(model), family.tower(model), model.lm_head
    if isinstance(head, UnusedHead):
        model.lm_head = head.whole()
        weights = head.own_weights() | weights
    if hasattr(tower, "whole"):
        setattr(model.model, name, whole := tower.whole())
        weights = {f"model.{name}.{key}": t for key, t in whole.state_dict().items()} | weights
    if getattr(model, "hf_quantizer", None):  # its weights are no longer: see `merged`
        model.hf_quantizer, model.config = None, copy(model.config)
        del model.config.quantization_config
    model._weight_conversions = family.conversions(model)  # where save_pretrained looks for them
    return model, weights


def published_conversions(model: PreTrainedModel) -> list[WeightTransform]:
    """What loading makes of a published checkpoint of a model that transformers has long known."""
    found = get_model_conversion_mapping(model, add_legacy=False)
    return [conversion for conversion in found if not _depends_on_shapes(conversion, model)]


def _depends_on_shapes(conversion: WeightTransform, model: PreTrainedModel) -> bool:
    """Whether transformers can not tell by a tensor's shape if it is to be turned. Where it can, it is turned for
    good: loading looks at the shape, and so would saving, which then leaves it as it is."""
    turns = [turn for turn in getattr(conversion, "operations", ()) if getattr(turn, "check_dims", False)]
    for turn in turns:
        turn.check_dims = False
    parts = (
        [p for name, p in model.named_parameters() if conversion.target_patterns[0] in name] if turns else []
    )
    shapes = [
        getattr(part, "ds_shape", part.shape) for part in parts
    ]  # under ZeRO-3 a process has a part of each
    return any(shape[turn.dim0] == shape[turn.dim1] for turn in turns for shape in shapes)


def recorded_conversions(model: PreTrainedModel) -> list[WeightTransform]:
    """What loading made of the file that a model came from. Without a file, all that transformers has for it but
    prefixes that come and go: with some models they are for files that nobody published."""
    if (recorded := getattr(model, "_weight_conversions", None)) is not None:
        return recorded
    return [each for each in published_conversions(model) if not isinstance(each, PrefixChange)]


def names_in_files(family: Family, model: PreTrainedModel) -> dict[str, str]:
    """Where the weights of a model stand in the files that `save_model` writes: their names there, by those in its
    state dict. Weights that stand there in another form are left out."""
    backwards = [conversion.reverse_transform() for conversion in family.conversions(model)[::-1]]
    converters = [each for each in backwards if isinstance(each, WeightConverter)]
    renamings = [each for each in backwards if not isinstance(each, WeightConverter)]
    return {
        name: rename_source_key(name, renamings, [])[0]
        for name in model.state_dict()
        if rename_source_key(name, [], converters)[1] is None
    }
