"""A CUDA device without data: operations give tensors of the right shape, are counted, and compute nothing.

torch's FakeTensorMode knows shape, type and device of every result. Where a program asks for values (how many
tokens are learned, where the images are), it has none; here small tensors of known values have a copy on the CPU on
which everything is done as well, so the program takes the way that it takes on a GPU. What depends on weights is
unknown: truth values of it count as true, integers as 0, and numbers that are read as 1.

A host sync is a read of a device's value: `item`, `tolist`, `nonzero`, an index of truth values, a copy to the CPU,
and what torch does by them (`unique`, `bincount`, `repeat_interleave`, `equal`).
"""

import sys
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from scripts.rehearsal.attention import attention
from scripts.rehearsal.counts import Counts, is_kernel, tensors, traffic

aten = torch.ops.aten
CUDA = torch.device("cuda", 0)
META = torch.device("meta")
ROOT = Path(__file__).resolve().parents[2]
LARGEST_KNOWN = 1 << 18  # elements of a tensor whose values are computed; views of such tensors may have more
# The shape of what they give depends on values.
BY_VALUE = {
    *(aten.nonzero, aten.masked_select, aten.unique_consecutive, aten.unique_dim, aten._unique2, aten.bincount),
    aten.repeat_interleave,
}


class FakeTensors(FakeTensorMode):
    """torch's, for tensors that are on "meta" to torch itself: what it puts beside them is on their device."""

    def dispatch(self, function, types, args=(), kwargs=None):
        return super().dispatch(function, types, args, off_meta(args, kwargs or {}))


def off_meta(args: tuple, kwargs: dict) -> dict:
    """Keyword arguments that place a result on the device of the arguments, where torch says "meta"."""
    if kwargs.get("device") != META:
        return kwargs
    return kwargs | {"device": next((t.device for t in tensors(args) if t.device != META), CUDA)}


class Device(TorchDispatchMode):
    """Counts what happens on the fake CUDA device while it is in force."""

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self.fake = fake
        self.counts = Counts()
        self.live = 0
        self.seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    # -- counting -----------------------------------------------------------------------------------

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """What is done here, counted."""
        before, self.counts = self.counts, Counts(peak=self.live)
        try:
            yield self.counts
        finally:
            self.counts = before

    def sync(self) -> None:
        self.counts.syncs += 1
        self.counts.places[caller()] += 1

    def hold(self, out: object) -> None:
        """Counts the memory of results until nothing refers to it any more."""
        for tensor in tensors(out):
            storage = tensor.untyped_storage()
            if tensor.device.type == "cuda" and storage not in self.seen:
                self.seen.add(storage)
                self.live += (size := storage.nbytes())
                weakref.finalize(storage, self.release, size).atexit = False
        self.counts.peak = max(self.counts.peak, self.live)

    def release(self, size: int) -> None:
        self.live -= size

    # -- operations ---------------------------------------------------------------------------------

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        args, kwargs = tree_map(self.adopt, (args, kwargs))
        packet = function.overloadpacket
        kwargs = off_meta(args, kwargs)
        if packet is aten._to_copy and stays(args[0], kwargs):
            return aten.alias.default(args[0])
        on_device = any(t.device.type == "cuda" for t in tensors((args, kwargs)))
        if packet is aten._local_scalar_dense:
            return self.read(args[0])
        if packet is aten.equal:
            if on_device:
                self.sync()
            return True if unknown(args) else self.on_copies(function, args, kwargs)
        if packet in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_):
            args = (args[0], self.places(args, packet), *args[2:])
        if packet in BY_VALUE and any(True for _ in tensors(args)):
            out = self.by_value(function, args, kwargs)
        else:
            out = function(*args, **kwargs)
            self.remember(function, args, kwargs, out)
        if on_device and packet is aten._to_copy and tensors_on_cpu(out):
            self.sync()
        if on_device or any(t.device.type == "cuda" for t in tensors(out)):
            self.count(function, args, kwargs, out)
        return out

    def count(self, function, args: tuple, kwargs: dict, out: object) -> None:
        self.hold(out)
        if not is_kernel(function):
            return
        self.counts.kernels += 1
        self.counts.bytes += traffic(function, args, kwargs, out)
        if formula := flop_registry.get(function.overloadpacket):
            self.counts.flops += formula(*args, **kwargs, out_val=out)

    def adopt(self, value: object) -> object:
        """A tensor of the CPU as one without data, which remembers it."""
        if not isinstance(value, Tensor) or isinstance(value, FakeTensor):
            return value
        fake = self.fake.from_tensor(value, static_shapes=True)
        fake.known = value if value.numel() <= LARGEST_KNOWN else None
        return fake

    def read(self, tensor: FakeTensor) -> list | float | int | bool:
        """The values of a tensor: the process waits for them, if they are on the device."""
        if tensor.device.type == "cuda":
            self.sync()
        with unset_fake_temporarily():
            known = getattr(tensor, "known", None)
            return (torch.ones(tensor.shape, dtype=tensor.dtype) if known is None else known).tolist()

    def places(self, args: tuple, packet) -> list[Tensor | None]:
        """Indices without truth values: torch turns those into numbers, which takes a look at them."""
        indices, found = args[1], []
        assigns_one = packet is not aten.index and args[2].numel() == 1  # it fills where they are true
        for index in indices:
            if index is None or index.dtype not in (torch.bool, torch.uint8):
                found.append(index)
            elif assigns_one:
                with unset_fake_temporarily():
                    known = torch.ones(index.shape, dtype=torch.bool).nonzero().unbind(1)
                found += [self.like(each, index.device) for each in known]
            else:
                found += self.by_value(aten.nonzero.default, (index,), {}).unbind(1)
        return found

    def by_value(self, function, args: tuple, kwargs: dict) -> object:
        """An operation whose result's shape depends on values: on the copies first."""
        device = args[0].device
        if device.type == "cuda":
            self.sync()
        if unknown(args):
            for tensor in tensors(args):
                if getattr(tensor, "known", None) is None:
                    with unset_fake_temporarily():
                        tensor.known = torch.ones(tensor.shape, dtype=tensor.dtype)
        if function is aten.nonzero.default and args[0].numel() > LARGEST_KNOWN:
            with unset_fake_temporarily():
                shape = (int(args[0].known.count_nonzero()), args[0].dim())
            out = aten.empty.memory_format(shape, dtype=torch.long, device=device)
        else:
            out = tree_map(lambda known: self.like(known, device), self.on_copies(function, args, kwargs))
        if device.type == "cuda":
            self.count(function, args, kwargs, out)
        return out

    def like(self, known: Tensor, device: torch.device) -> Tensor:
        """A tensor without data on a device, of known values."""
        out = aten.empty_strided.default(known.shape, known.stride(), dtype=known.dtype, device=device)
        out.known = known
        return out

    # -- known values -------------------------------------------------------------------------------

    def on_copies(self, function, args: tuple, kwargs: dict) -> object:
        """The same on the copies of all tensors."""
        args, kwargs = tree_map(lambda v: v.known if isinstance(v, FakeTensor) else v, (args, kwargs))
        if kwargs.get("device") is not None:
            kwargs = kwargs | {"device": torch.device("cpu"), "pin_memory": False}
        if "non_blocking" in kwargs:
            kwargs = kwargs | {"non_blocking": False}
        with unset_fake_temporarily():
            return function(*args, **kwargs)

    def remember(self, function, args: tuple, kwargs: dict, out: object) -> None:
        """Gives small results their values, where those of all arguments are known."""
        results = list(tensors(out))
        too_large = any(t.numel() > LARGEST_KNOWN for t in results) and is_kernel(function)
        if not results or too_large:
            for tensor in results:
                tensor.known = None
        elif not unknown((args, kwargs)):
            known = self.on_copies(function, args, kwargs)
            for tensor, value in zip(results, tensors(known), strict=True):
                tensor.known = value
        else:
            for tensor in results:
                guess = {torch.bool: True, torch.int64: 0, torch.int32: 0}.get(tensor.dtype)
                if guess is None or tensor.numel() > LARGEST_KNOWN:
                    tensor.known = None
                    continue
                with unset_fake_temporarily():
                    tensor.known = torch.full(tensor.shape, guess, dtype=tensor.dtype)


def stays(tensor: Tensor, kwargs: dict) -> bool:
    """Whether a copy is none: on a GPU torch finds the tensor to be where and what it shall be."""
    as_is = {"device": tensor.device, "dtype": tensor.dtype, "layout": tensor.layout}
    return kwargs.get("memory_format") is None and all(
        kwargs.get(name) in (None, value) for name, value in as_is.items()
    )


def unknown(values: object) -> bool:
    return any(getattr(tensor, "known", None) is None for tensor in tensors(values))


def tensors_on_cpu(values: object) -> bool:
    return all(tensor.device.type == "cpu" for tensor in tensors(values))


def caller() -> str:
    """The line of this project that is being run, and the library's below it that asks for a value."""
    frame, inner, own = sys._getframe(1), "", ""
    while frame and not own:
        file, line = Path(frame.f_code.co_filename), frame.f_lineno
        if ROOT in file.parents and ".venv" not in file.parts:
            if file.parent != Path(__file__).parent:
                own = f"{file.relative_to(ROOT)}:{line}"
        elif not inner and "torch" not in file.parts:
            inner = f"{'/'.join(file.parts[-2:])}:{line}"
        frame = frame.f_back
    return f"{own} {f'({inner})' if inner else ''}".strip()


make_subclass = Tensor._make_subclass


def on_meta(subclass: type, data: Tensor, requires_grad: bool = False, **_) -> Tensor:
    """Stands for `Tensor._make_subclass`: torch without CUDA can't run a backward pass on tensors that claim to be
    there. To its autograd they are on "meta", and to every program that asks they are on "cuda"."""
    return make_subclass(subclass, data, requires_grad)


def moved(module: nn.Module, *args, **kwargs) -> nn.Module:
    """Stands for `nn.Module.to`, which swaps the insides of tensors without data and finds them in use."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is None or stays(tensor, wanted := as_options(*args, **kwargs)):
                    continue
                changed = tensor.detach().to(**wanted)
                is_weight = isinstance(tensor, nn.Parameter)
                held[name] = nn.Parameter(changed, tensor.requires_grad) if is_weight else changed
    return module


def as_options(*args, **kwargs) -> dict:
    """What `to` is asked for: device and dtype."""
    device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
    return {"device": device, "dtype": dtype}


@contextmanager
def fake_device() -> Iterator[Device]:
    """Where "cuda" is a device without data, and the project takes it for its own."""
    fake = FakeTensors(allow_non_fake_inputs=True)
    fake._allow_unsafe_data_ptr_access = True  # the cache asks whether two tensors begin at one place
    device = Device(fake)

    def tolist(tensor: FakeTensor) -> list:
        return device.read(tensor)

    make_tensor = torch.tensor

    def tensor_of(data: object, *args, **kwargs) -> Tensor:  # torch looks into tensors in a list past all modes
        if isinstance(data, list | tuple):
            data = tree_map(lambda value: value.item() if isinstance(value, Tensor) else value, data)
        return make_tensor(data, *args, **kwargs)

    with ExitStack() as stack:
        stack.enter_context(patch("torch.tensor", tensor_of))
        stack.enter_context(patch("training.utils.dist.device", lambda: CUDA))
        stack.enter_context(patch.object(FakeTensor, "tolist", tolist))
        # transformers would leave out what a tracer can't follow, and a GPU can.
        stack.enter_context(patch("transformers.utils.import_utils.is_fake_tensor", lambda tensor: False))
        stack.enter_context(patch.object(Tensor, "_make_subclass", staticmethod(on_meta)))
        stack.enter_context(patch.object(nn.Module, "to", moved))
        stack.enter_context(patch("torch.nn.functional.scaled_dot_product_attention", attention))
        for mode in (fake, device):
            stack.enter_context(mode)
        yield device
