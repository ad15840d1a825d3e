"""Kernels that do at once what a decoder layer does between its matrix products: norms, rotary positions, gates.

Compiled from the layer's own code (`--compile`), or liger-kernel's (arXiv 2410.10989; `--fused_kernels`). Attention
keeps the fused kernels that it has.
"""

import logging
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.liger import apply_liger_kernel

from ..config.train_config import TrainConfig
from ..data.record import DataError

# Graphs of one part's code that are kept: with a mask and without, in training, in evaluation, of a frozen model,
# with adapters on and off, for one row and for several. Beyond that torch.compile would give up in silence.
MOST_GRAPHS = 64
LIGER = {  # what is taken of it; its losses would compute logits that are computed in chunks here
    "rope": True,
    "rms_norm": True,
    "swiglu": True,
    "geglu": True,
    "layer_norm": False,
    "cross_entropy": False,
    "fused_linear_cross_entropy": False,
}

logger = logging.getLogger(__name__)
# It warns of each kind of GPU that this one is not.
logging.getLogger("liger_kernel").setLevel(logging.ERROR)


def fuse_kernels(language_model: PreTrainedModel, config: TrainConfig) -> None:
    """Gives a language model the kernels that the flags ask for.

    Raises:
        DataError: liger-kernel is asked for and can't be had.
    """
    if config.compile:
        compile_layers(language_model)
    elif config.fused_kernels != "off":
        hindrance = why_not_liger(language_model)
        if not hindrance:
            apply_liger_kernel(language_model, LIGER)
            logger.info(
                "liger-kernel's norms, rotary positions and gates in %s", type(language_model).__name__
            )
        elif config.fused_kernels == "on":
            raise DataError(f"--fused_kernels on: {hindrance}")


def why_not_liger(language_model: PreTrainedModel) -> str:
    """What keeps a model from liger-kernel's kernels, and the cure; empty: nothing."""
    if not torch.cuda.is_available():
        return "liger-kernel's kernels need a GPU; use --compile, or leave it out"
    if find_spec("liger_kernel") is None:
        return "liger-kernel is not installed; `pip install -r requirements-fused.txt`"
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN as known

    model_type = language_model.config.model_type
    return "" if model_type in known else f"liger-kernel has none for a {model_type}; use --compile, or auto"


def compile_layers(language_model: PreTrainedModel, backend: str = "inductor") -> None:
    """Has torch.compile fuse what the norms, the attention module and the gated layer of each layer do, when they are
    first called: the same graphs for all layers and sizes of batches.

    These parts are what gradient checkpointing runs again. The attention itself is left out of the graphs, whatever
    its mask; with a cache, as in generation, where keys are more at each token, its module runs as it was written.

    Args:
        backend: of torch.compile.
    """
    from torch import _dynamo  # takes seconds
    from torch.fx.experimental import _config

    _dynamo.config.recompile_limit = max(_dynamo.config.recompile_limit, MOST_GRAPHS)
    _config.use_duck_shape = False  # else sizes that are equal at first would have to stay so
    name = language_model.config._attn_implementation
    attention = AttentionInterface().get(name)
    if attention is not None and not hasattr(attention, "_torchdynamo_disable"):
        AttentionInterface.register(name, torch.compiler.disable(attention))
    for layer in language_model.layers:
        for part in layer.children():
            part.forward = _compiled_without_cache(part, backend)


def _compiled_without_cache(part: nn.Module, backend: str) -> Callable:
    as_written = part.forward
    compiled = torch.compile(as_written, dynamic=True, backend=backend)

    def forward(*args, **kwargs):
        has_cache = kwargs.get("past_key_values") is not None
        return (as_written if has_cache else compiled)(*args, **kwargs)

    return forward
