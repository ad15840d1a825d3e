"""Multi-modal causal attention as Vision-LLM-Alignment computed it, for the checkpoints that it trained: by the name
"mmca_legacy" in transformers.

It differs from `mmca.py` in two ways. A token of an image attends to the text so far too. And where one of the two
softmaxes has no key, as that over the images has none before the first image, all its masked scores are equal, so
it is uniform: over the keys so far that are of the other kind, and over the keys to come that are of its own. So the
text before an image sees that image. Masks of trees and of several samples in a row are kept to.

Notation: B rows, H heads, T queries, S keys, P tokens of the prompt.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv

from .mmca import attend, kinds, may_attend, mmca_attention, mmca_mask

NAME = "mmca_legacy"


def legacy_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    is_image: Tensor | None = None,
    **kwargs,
) -> tuple[Tensor, None]:
    """Attention of the last T of S tokens to all S. Arguments and result are those of `mmca_attention`."""
    if is_image is None:
        return mmca_attention(module, query, key, value, attention_mask, scaling, dropout, **kwargs)
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    num_queries, num_keys = query.shape[2], key.shape[2]
    may = may_attend(attention_mask, num_queries, num_keys, query.device)
    key_is_image, query_is_text, itself = kinds(may, is_image.to(query.device))
    # The keys to come of a query are those that may attend to it: of its own sample and branch, and no padding.
    to_come = pad(may[..., num_keys - num_queries :].transpose(-1, -2), (num_keys - num_queries, 0)) & ~may
    output = torch.zeros_like(query)
    for of_kind, allowed in (
        (~key_is_image, may & ~key_is_image),
        (key_is_image, may & key_is_image & (query_is_text | itself)),
    ):
        uniform = ((may & ~of_kind) | (to_come & of_kind)).to(value.dtype)
        uniform = uniform / uniform.sum(-1, keepdim=True).clamp(min=1)
        found = attend(query, key, value, allowed, scaling, dropout)
        output = output + torch.where(allowed.any(-1, keepdim=True), found, uniform @ value)
    return output.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, legacy_attention)
AttentionMaskInterface.register(NAME, mmca_mask)
