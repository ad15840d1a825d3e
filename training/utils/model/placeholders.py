"""Where the features of images go in a row, found on the CPU, where the token ids are known.

transformers counts a batch's image tokens, compares their number with that of the features, and writes it into a
message whether there is anything to say or not. On a device these are two waits in every forward pass.
"""

from functools import partial

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from transformers import PreTrainedModel


def find_places_on_the_cpu(model: PreTrainedModel) -> None:
    """Lets a model look at the token ids that `Batch.to` moved to its device where they came from."""
    find = getattr(model.model, "get_placeholder_mask", None)
    if find is not None:
        model.model.get_placeholder_mask = partial(_placeholder_mask, find)


def _placeholder_mask(find, input_ids: Tensor | None, inputs_embeds: Tensor, **features):
    known = getattr(input_ids, "on_cpu", None)
    if known is None:
        return find(input_ids, inputs_embeds=inputs_embeds, **features)
    shape_alone = torch.empty((), dtype=inputs_embeds.dtype).expand(inputs_embeds.shape)
    masks = find(known, inputs_embeds=shape_alone, **features)
    return tree_map(lambda mask: mask.to(inputs_embeds.device, non_blocking=True), masks)
