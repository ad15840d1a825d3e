"""Attention of trees in a language model of transformers: by FlexAttention, or by fused kernels in two parts.

FlexAttention (arXiv 2412.05496) computes a whole row, packed trees too, forward and backward, and leaves out blocks
of tokens that do not attend to each other; its mask is made of such blocks, once for a batch. Where it serves is
found out in `flex_attention.py`. It takes longer to call than the fused kernels, so short rows are left to those.

Those, and all rows elsewhere, are computed in two parts. A row begins with a prompt, so the first part of its mask is
plainly causal. There the causal kernel is used, which needs no mask and skips what lies in the future; the responses
behind it attend through a mask of all pairs of tokens.

    query        keys
    prompt       \\ . .      causal, no mask
    response 1   # \\ .      masked
    response 2   # . \\

Rows of one response are plainly causal, and take the causal kernel whichever of the two a model has.
"""

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ..data.tree import Batch

IN_TWO_PARTS, IN_BLOCKS = "tree", "tree_in_blocks"  # what transformers calls them
MIN_CAUSAL_LEN = 64  # tokens; a shorter part is not worth a kernel of its own
# Tokens of a row. A step of a 7B model on an H200 (docs/gpu.md): rows of 1,000 tokens are 1.2 times as fast without
# FlexAttention, one of 3,600 as fast with as without.
MIN_BLOCKS_LEN = 3_600


def use_tree_attention(model: PreTrainedModel, by_blocks: bool = False) -> None:
    """Lets a language model attend to trees, unless it has an attention of its own choice.

    Args:
        by_blocks: by FlexAttention.
    """
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(IN_BLOCKS if by_blocks else IN_TWO_PARTS)


def tree_mask(model: PreTrainedModel, batch: Batch) -> Tensor | BlockMask | None:
    """What a language model gets as its `attention_mask` for a batch."""
    by_blocks = model.config._attn_implementation == IN_BLOCKS and not batch.is_causal
    by_blocks = by_blocks and batch.input_ids.shape[1] >= MIN_BLOCKS_LEN
    return batch.block_mask if by_blocks else batch.attention_mask


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | BlockMask | None,
    **kwargs,
) -> tuple[Tensor, Tensor | None]:
    """Attention, [B, T, H, head size], and what transformers' own gives beside it.

    Args:
        query: [B, H, T, head size]
        key, value: [B, H or a part of it, S, head size]
        attention_mask: as in `sdpa`; one with an attribute `causal_len` is plainly causal in that many first queries.
            One in blocks goes to FlexAttention.
    """
    if isinstance(attention_mask, BlockMask):
        return flex_attention_forward(module, query, key, value, attention_mask, **kwargs)
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


for _name in (IN_TWO_PARTS, IN_BLOCKS):
    AttentionInterface.register(_name, tree_attention)
    AttentionMaskInterface.register(_name, sdpa_mask)
