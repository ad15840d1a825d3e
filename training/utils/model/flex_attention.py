"""Whether FlexAttention (arXiv 2412.05496) can compute a model's attention on this process's device.

Its kernels are compiled for each GPU, torch and size of heads, so what is known of those is not enough: before it is
used it computes the attention of a few small trees, forward and backward, and has to agree with the fused kernels.
"""

import logging
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion
from torch.utils._triton import has_triton
from transformers import PretrainedConfig
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ..data.tree import Batch, Response, Tree, collate
from ..process import dist
from .dropout import has_dropout

MIN_TORCH, MIN_CAPABILITY = (2, 7), (8, 0)
MIN_HEAD_SIZE = 16
TOLERANCE = 0.02  # of the norm of each result, in 16 bits
# Kernels of a process: by heads, with and without gradients, one row or more, one block or more. Past torch's own
# limit of 8 it would go on with plain operations, and all pairs of tokens in memory.
MAX_KERNELS = 64

logger = logging.getLogger(__name__)


def flex_attention_serves(config: PretrainedConfig, dtype: torch.dtype, drops_out: bool) -> bool:
    """Whether FlexAttention computes a language model here: on a GPU, in 16 bits, without dropout.

    Args:
        drops_out: the rates of dropout that `config` gives are in force.
    """
    device = dist.device()
    if device.type != "cuda" or not has_triton() or TorchVersion(torch.__version__) < MIN_TORCH:
        return False
    if torch.cuda.get_device_capability() < MIN_CAPABILITY or dtype not in (torch.bfloat16, torch.float16):
        return False
    num_heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // num_heads
    if head_size < MIN_HEAD_SIZE or (drops_out and has_dropout(config)):
        return False
    num_key_heads = getattr(config, "num_key_value_heads", None) or num_heads
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MAX_KERNELS)
    return is_right(num_heads, num_key_heads, head_size, dtype, device)


@lru_cache
def is_right(
    num_heads: int, num_key_heads: int, head_size: int, dtype: torch.dtype, device: torch.device
) -> bool:
    """Whether outputs and gradients of small trees are those of the fused kernels in 32 bits; says so if not."""
    batch = collate([[_tree(150, 140, 20)], [_tree(70, 130), _tree(30, 10, 20)]], 0, lambda parts: {}).to(
        device
    )
    layer = nn.Module()
    layer.num_key_value_groups = num_heads // num_key_heads
    generator = torch.Generator().manual_seed(0)
    states = [
        torch.randn(len(batch.tree), heads, batch.tree.shape[1], head_size, generator=generator).to(
            device, dtype
        )
        for heads in (num_heads, num_key_heads, num_key_heads, num_heads)
    ]
    expected = _results(
        sdpa_attention_forward, layer, [s.float() for s in states], batch.attention_mask, batch
    )
    try:
        found = _results(flex_attention_forward, layer, states, batch.block_mask, batch)
    except Exception as error:  # of torch, its compiler, Triton or a compiler of C: each has its own
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    else:
        errors = [
            (ours.float() - true).norm() / true.norm() for ours, true in zip(found, expected, strict=True)
        ]
        if max(errors) < TOLERANCE:
            return True
        reason = (
            f"its results differ by {float(max(errors)):.3g} of their size from those of the fused kernels"
        )
    logger.warning("FlexAttention is not used on this machine, trees take the fused kernels: %s", reason)
    return False


def _tree(prompt_len: int, *response_lens: int) -> Tree:
    return Tree("", [0] * prompt_len, [False] * prompt_len, [Response([0] * n) for n in response_lens])


def _results(attend, layer: nn.Module, states: list[Tensor], mask: object, batch: Batch) -> list[Tensor]:
    """Output and gradients of query, key and value, on tokens alone."""
    *inputs, cotangent = (state.detach().clone() for state in states)
    for state in inputs:
        state.requires_grad_()
    with torch.enable_grad():
        output, _ = attend(layer, *inputs, mask, scaling=inputs[0].shape[-1] ** -0.5)
        output = output[batch.is_token]
        return [output, *torch.autograd.grad(output, inputs, cotangent.transpose(1, 2)[batch.is_token])]
