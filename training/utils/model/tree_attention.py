"""Attention of trees, by the name "tree" in transformers: PyTorch's fused kernels, in two parts.

A row begins with a prompt, so the first part of its mask is plainly causal. There the causal kernel is used, which
needs no mask and skips what lies in the future; the responses behind it attend through the mask.

    query        keys
    prompt       \\ . .      causal, no mask
    response 1   # \\ .      masked
    response 2   # . \\
"""

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "tree"
MIN_CAUSAL_LEN = 64  # tokens; a shorter part is not worth a kernel of its own


def use_tree_attention(model: PreTrainedModel) -> None:
    """Lets a language model attend to trees in two parts, unless it has an attention of its own choice."""
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)


def tree_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs
) -> tuple[Tensor, None]:
    """Attention, [B, T, H, head size], and None for the weights.

    Args:
        query: [B, H, T, head size]
        key, value: [B, H or a part of it, S, head size]
        attention_mask: as in `sdpa`. One with an attribute `causal_len` is plainly causal in that many first queries.
    """
    causal = getattr(attention_mask, "causal_len", 0)
    if causal < MIN_CAUSAL_LEN:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    prompt, _ = sdpa_attention_forward(
        module, query[:, :, :causal], key[:, :, :causal], value[:, :, :causal], None, is_causal=True, **kwargs
    )
    rest, _ = sdpa_attention_forward(
        module, query[:, :, causal:], key, value, attention_mask[:, :, causal:], **kwargs
    )
    return torch.cat([prompt, rest], dim=1), None


AttentionInterface.register(NAME, tree_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
