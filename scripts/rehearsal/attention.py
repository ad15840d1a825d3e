"""Attention as a GPU computes it: without a mask by the flash kernel, else by the memory-efficient one.

On a CPU torch chooses among other kernels, and for a device that it was not built for the slow one of single steps.
"""

import torch
from torch import Tensor

aten = torch.ops.aten
HALF = (torch.float16, torch.bfloat16)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Stands for `scaled_dot_product_attention`: the kernel that torch prefers on a GPU."""
    if attn_mask is None and query.dtype in HALF:
        kernel = aten._scaled_dot_product_flash_attention.default
        return kernel(query, key, value, dropout_p, is_causal, False, scale=scale)[0]
    if enable_gqa:
        groups = query.shape[1] // key.shape[1]
        key, value = (states.repeat_interleave(groups, 1) for states in (key, value))
    bias = attn_mask
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            bias = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(~attn_mask, -torch.inf)
        bias = bias.expand(*query.shape[:3], key.shape[2])
    needs_grad = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    kernel = aten._scaled_dot_product_efficient_attention.default
    return kernel(query, key, value, bias, needs_grad, dropout_p, is_causal, scale=scale)[0]
