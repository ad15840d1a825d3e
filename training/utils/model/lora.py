"""LoRA (arXiv 2106.09685) through peft, and QLoRA (arXiv 2305.14314) through transformers' quantization.

A checkpoint holds the merged weights, so every next stage, prediction and plain transformers load it as any other.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from ..data.record import DataError
from .parts import PROJECTORS, VISION_TOWERS

ADAPTER = "default"


def add_lora(
    part: nn.Module,
    dim: int,
    alpha: float,
    name: str,
    without: Collection[nn.Module] = (),
    adapter: str = ADAPTER,
) -> None:
    """Freezes a part of a model, and gives its linear layers trained adapters of rank `dim`.

    Args:
        alpha: the adapter's product is scaled by alpha / dim; 0: by 1.
        name: only layers whose name holds this.
        without: modules whose layers get none.
        adapter: what the adapter is called; layers may have several.

    Raises:
        DataError: there is no such layer.
    """
    # MultiheadAttention reads the weights of its layer instead of calling it: an adapter would not act.
    fused = [module for module in part.modules() if isinstance(module, nn.MultiheadAttention)]
    excluded = {id(layer) for module in (*without, *fused) for layer in module.modules()}
    targets = [
        place
        for place, layer in part.named_modules()
        if isinstance(layer, nn.Linear) and name in place and id(layer) not in excluded
    ]
    if not targets:
        raise DataError(
            f"--lang_lora_module_name or --vis_lora_module_name {name}: no linear layer's name holds this; expected "
            "a part of a name, such as layers."
        )
    config = LoraConfig(r=dim, lora_alpha=alpha or dim, target_modules=targets)
    inject_adapter_in_model(config, part, adapter_name=adapter)


def adapter_parameters(model: nn.Module, adapter: str) -> list[nn.Parameter]:
    """The weights of an adapter, in the order of the layers."""
    return [p for name, p in model.named_parameters() if f".{adapter}." in name and ".lora_" in name]


def use_adapter(layers: Iterable[LoraLayer], adapter: str | None) -> None:
    """Lets one of the adapters of some layers act, or none."""
    # Not peft's own switches: they also freeze the other adapters, and optimizers hold them.
    for layer in layers:
        layer._disable_adapters = adapter is None
        layer._active_adapter = [adapter]


def save_adapter(model: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    """Writes the adapters of a model apart, as peft loads them.

    Args:
        weights: the model's state dict.
    """
    layers = lora_layers(model)
    layer = next(iter(layers.values()))
    config = LoraConfig(
        r=layer.r[ADAPTER],
        lora_alpha=layer.lora_alpha[ADAPTER],
        target_modules=sorted(layers),
        task_type="CAUSAL_LM",
    )
    config.save_pretrained(folder)
    tensors = {
        f"base_model.model.{name.replace(f'.{ADAPTER}.', '.')}": tensor.contiguous()
        for name, tensor in weights.items()
        if ".lora_" in name
    }
    save_file(tensors, folder / SAFETENSORS_WEIGHTS_NAME)


def load_adapter(model: nn.Module, folder: Path, adapter: str) -> None:
    """Gives a model an adapter that `save_adapter` wrote, under a name."""
    inject_adapter_in_model(LoraConfig.from_pretrained(folder), model, adapter_name=adapter)
    parameters = dict(model.named_parameters())
    for name, tensor in load_file(folder / SAFETENSORS_WEIGHTS_NAME).items():
        name = name.removeprefix("base_model.model.").replace(".weight", f".{adapter}.weight")
        parameters[name].data.copy_(tensor)


def lora_layers(model: nn.Module) -> dict[str, LoraLayer]:
    """The layers of a model that have adapters, by their names."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The model as it was before it got adapters."""
    layers = lora_layers(model).values()
    use_adapter(layers, None)
    try:
        yield
    finally:
        use_adapter(layers, ADAPTER)


def adapters_act(model: nn.Module) -> bool:
    """Whether the adapters of a model, if it has any, are at work."""
    return not any(layer._disable_adapters for layer in lora_layers(model).values())


@torch.no_grad()
def merged(model: PreTrainedModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict `weights` of a model with adapters as that of a model without: W + alpha / dim B A."""
    layers = {
        name: layer
        for name, layer in lora_layers(model).items()
        if f"{name}.lora_A.{ADAPTER}.weight" in weights
    }
    if not layers:
        return weights
    plain = {name.replace(".base_layer.", "."): t for name, t in weights.items() if ".lora_" not in name}
    if any(_is_quantized(layer) for layer in layers.values()):
        # The weights that were quantized are on disk as they were.
        original = type(model).from_pretrained(model.name_or_path, dtype=model.dtype).state_dict()
        plain = {
            name: original[name] if _is_packed(t) else t for name, t in plain.items() if name in original
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
        llm_int8_skip_modules=["lm_head", *(rf"(.*\.)?{name}" for name in (*VISION_TOWERS, *PROJECTORS))],
    )


def _is_quantized(layer: LoraLayer) -> bool:
    return _is_packed(layer.get_base_layer().weight)


def _is_packed(weight: Tensor) -> bool:
    return not weight.is_floating_point()
