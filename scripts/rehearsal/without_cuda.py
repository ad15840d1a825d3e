"""What a torch without CUDA can not do with tensors that claim to be there, done in another way.

To torch's own code the tensors are on "meta", where a backward pass needs no device; to every program that asks they
are on "cuda".
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from scripts.rehearsal.counts import tensors

CUDA = torch.device("cuda", 0)
META = torch.device("meta")
make_subclass, make_tensor = Tensor._make_subclass, torch.tensor


class FakeTensors(FakeTensorMode):
    """torch's, for tensors that are on "meta" to torch itself: what it puts beside them is on their device."""

    def dispatch(self, function, types, args=(), kwargs=None):
        return super().dispatch(function, types, args, off_meta(args, kwargs or {}))


def off_meta(args: tuple, kwargs: dict) -> dict:
    """Keyword arguments that place a result on the device of the arguments, where torch says "meta"."""
    if kwargs.get("device") != META:
        return kwargs
    return kwargs | {"device": next((t.device for t in tensors(args) if t.device != META), CUDA)}


def stays(tensor: Tensor, kwargs: dict) -> bool:
    """Whether a copy is none: on a GPU torch finds the tensor to be where and what it shall be."""
    as_is = {"device": tensor.device, "dtype": tensor.dtype, "layout": tensor.layout}
    return kwargs.get("memory_format") is None and all(
        kwargs.get(name) in (None, value) for name, value in as_is.items()
    )


def on_meta(subclass: type, data: Tensor, requires_grad: bool = False, **_) -> Tensor:
    """Stands for `Tensor._make_subclass`, which would tell torch of another device."""
    return make_subclass(subclass, data, requires_grad)


@torch.no_grad()
def apply(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Stands for `nn.Module._apply`, which swaps the insides of tensors and finds those without data in use."""
    for part in module.modules() if recurse else [module]:
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is None:
                    continue
                changed = function(tensor)
                if stays(tensor, {"device": changed.device, "dtype": changed.dtype}):
                    continue
                is_weight = isinstance(tensor, nn.Parameter)
                held[name] = nn.Parameter(changed, tensor.requires_grad) if is_weight else changed
    return module


def tensor_of_values(data: object, *args, **kwargs) -> Tensor:
    """Stands for `torch.tensor`, which looks into tensors in a list past all modes."""
    if isinstance(data, list | tuple):
        data = tree_map(lambda value: value.item() if isinstance(value, Tensor) else value, data)
    return make_tensor(data, *args, **kwargs)
