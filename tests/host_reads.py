"""Counts how often a process would wait for its device, on a machine without one.

Tensors of a batch are marked as the device's, and whatever is computed from them is the device's too. To read a value
of such a tensor, or to make one whose size depends on values, is what a GPU has to be waited for.
"""

from collections import Counter
from dataclasses import fields, replace

import torch
from torch import Tensor

from training.utils.data.tree import Batch

READS = {"item", "tolist", "numpy", "cpu", "equal", "__bool__", "__int__", "__float__", "__index__"}
SIZED_BY_VALUES = {"nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "bincount"}
reads: Counter[str] = Counter()


class OnDevice(Tensor):
    """A tensor that stands for one in a device's memory."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if _waits(name, args, kwargs):
            reads[name] += 1
        result = super().__torch_function__(func, types, args, kwargs)
        return result.as_subclass(Tensor) if _leaves(name, args) else result


def _leaves(name: str, args: tuple) -> bool:
    """Whether the result is the CPU's."""
    return name == "cpu" or (name == "to" and "cpu" in args)


def _waits(name: str, args: tuple, kwargs: dict) -> bool:
    if name == "repeat_interleave":
        given = args[1] if len(args) > 1 else kwargs.get("repeats")
        return isinstance(given, OnDevice) and "output_size" not in kwargs
    if name in READS | SIZED_BY_VALUES:
        return any(isinstance(each, OnDevice) for each in args)
    if name == "to":
        return "cpu" in args
    if name in ("__getitem__", "__setitem__"):
        places = args[1] if isinstance(args[1], tuple | list) else (args[1],)
        masks = [place for place in places if isinstance(place, OnDevice) and place.dtype == torch.bool]
        # A number put where a mask is True needs no count of such places.
        return bool(masks) and not (name == "__setitem__" and not isinstance(args[2], Tensor))
    return False


def on_device(batch: Batch) -> Batch:
    """The batch as it is on a device; what it was made from stays on the CPU."""
    moved = {}
    for item in fields(batch):
        value = getattr(batch, item.name)
        if isinstance(value, Tensor):
            moved[item.name] = value.as_subclass(OnDevice)
        elif isinstance(value, dict):
            moved[item.name] = {name: tensor.as_subclass(OnDevice) for name, tensor in value.items()}
    moved["input_ids"].on_cpu = batch.input_ids
    return replace(batch, **moved, _on_cpu=batch)
