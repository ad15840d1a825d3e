"""LoRA (arXiv 2106.09685) through peft, and QLoRA (arXiv 2305.14314) through transformers' quantization.

A checkpoint holds the merged weights, so every next stage, prediction and plain transformers load it as any other.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from .parts import PROJECTORS, VISION_TOWERS

ADAPTER = "default"


def add_lora(part: nn.Module, dim: int, alpha: float, name: str, without: Collection[nn.Module] = ()) -> None:
    """Freezes a part of a model, and gives its linear layers trained adapters of rank `dim`.

    Args:
        alpha: the adapter's product is scaled by alpha / dim; 0: by 1.
        name: only layers whose name holds this.
        without: modules whose layers get none.
    """
    # MultiheadAttention reads the weights of its layer instead of calling it: an adapter would not act.
    fused = [module for module in part.modules() if isinstance(module, nn.MultiheadAttention)]
    excluded = {id(layer) for module in (*without, *fused) for layer in module.modules()}
    targets = [
        place
        for place, layer in part.named_modules()
        if isinstance(layer, nn.Linear) and name in place and id(layer) not in excluded
    ]
    config = LoraConfig(r=dim, lora_alpha=alpha or dim, target_modules=targets)
    inject_adapter_in_model(config, part, adapter_name=ADAPTER)


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The model as it was before it got adapters."""
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    # Not peft's own switch: it also freezes the adapters, and an optimizer holds them.
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


@torch.no_grad()
def merged(model: PreTrainedModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict `weights` of a model with adapters as that of a model without: W + alpha / dim B A."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
    if not layers:
        return weights
    plain = {name.replace(".base_layer.", "."): t for name, t in weights.items() if ".lora_" not in name}
    if any(_is_quantized(layer) for layer in layers.values()):
        # The weights that were quantized are on disk as they were.
        original = type(model).from_pretrained(model.name_or_path, dtype=model.dtype)
        plain = {
            name: original.state_dict().get(name, t) for name, t in plain.items() if "weight." not in name
        }
    for name, layer in layers.items():
        first, second = (weights[f"{name}.lora_{side}.{ADAPTER}.weight"].float() for side in "AB")
        weight = plain[f"{name}.weight"]
        change = layer.scaling[ADAPTER] * second @ first
        plain[f"{name}.weight"] = (weight.float() + change).to(weight.dtype)
    return plain


def four_bit(dtype: torch.dtype) -> BitsAndBytesConfig:
    """NF4 weights with double quantization, computing in `dtype`; vision tower and projector stay as they are."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["lm_head", *VISION_TOWERS, *PROJECTORS],
    )


def _is_quantized(layer: LoraLayer) -> bool:
    return not layer.get_base_layer().weight.is_floating_point()
