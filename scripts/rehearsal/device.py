"""A CUDA device without data: operations give tensors of the right shape, are counted, and compute nothing.

torch's FakeTensorMode knows shape, type and device of every result. Where a program asks for values (how many
tokens are learned, where the images are), it has none; here small tensors of known values have a copy on the CPU on
which everything is done as well, so the program takes the way that it takes on a GPU. What depends on weights is
unknown: truth values of it count as true, integers as 0, and numbers that are read as 1.

A host sync is a read of a device's value: `item`, `tolist`, `nonzero`, an index of truth values, a copy to the CPU,
and what torch does by them (`unique`, `bincount`, `repeat_interleave`, `equal`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from scripts.rehearsal.attention import attention
from scripts.rehearsal.counts import Counts, caller, is_kernel, tensors, traffic
from scripts.rehearsal.live import Live
from scripts.rehearsal.without_cuda import (
    CUDA,
    FakeTensors,
    apply,
    off_meta,
    on_meta,
    stays,
    tensor_of_values,
)

aten = torch.ops.aten
LARGEST_KNOWN = 1 << 18  # elements of a tensor whose values are computed; views of such tensors may have more
# The shape of what they give depends on values.
BY_VALUE = {
    *(
        aten.nonzero,
        aten.masked_select,
        aten.unique_consecutive,
        aten.unique_dim,
        aten._unique2,
        aten.bincount,
    ),
    aten.repeat_interleave,
}


class Device(TorchDispatchMode):
    """Counts what happens on the fake CUDA device while it is in force."""

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self.fake = fake
        self.counts = Counts()
        self.is_counting = False
        self.live = Live("cuda")

    # -- counting -----------------------------------------------------------------------------------

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """What is done here, counted."""
        self.counts, self.is_counting = Counts(peak=self.live.now), True
        try:
            yield self.counts
        finally:
            self.is_counting = False

    def sync(self) -> None:
        self.counts.syncs += 1
        self.counts.places[caller()] += 1

    # -- operations ---------------------------------------------------------------------------------

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        args, kwargs = tree_map(self.adopt, (args, kwargs or {}))
        packet = function.overloadpacket
        kwargs = off_meta(args, kwargs)
        if packet is aten._to_copy and stays(args[0], kwargs):
            return aten.alias.default(args[0]) if args[0].requires_grad else args[0]
        on_device = any(t.device.type == "cuda" for t in tensors((args, kwargs)))
        if packet is aten._local_scalar_dense:
            return self.read(args[0])
        if packet is aten.equal:
            if on_device:
                self.sync()
            return not self.is_counting  # weights are, of one checkpoint; what is asked of two batches is not
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
        self.live.hold(out)
        self.counts.peak = max(self.counts.peak, self.live.now)
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
        if results and not too_large and not unknown((args, kwargs)):
            known = self.on_copies(function, args, kwargs)
            for tensor, value in zip(results, tensors(known), strict=True):
                tensor.known = value
        else:
            for tensor in results:
                tensor.known = guess(function, tensor)


def guess(function: torch._ops.OpOverload, tensor: Tensor) -> Tensor | None:
    """Values of a result that depends on weights or pictures: numbers differ, and what else is asked is true."""
    value = {torch.bool: function.overloadpacket is not aten.eq, torch.int64: 0, torch.int32: 0}.get(
        tensor.dtype
    )
    if value is None:
        return None
    with unset_fake_temporarily():
        one = torch.full((), value, dtype=tensor.dtype)
        return one.expand(tensor.shape) if tensor.numel() > LARGEST_KNOWN else one.repeat(tensor.shape)


def unknown(values: object) -> bool:
    return any(getattr(tensor, "known", None) is None for tensor in tensors(values))


def tensors_on_cpu(values: object) -> bool:
    return all(tensor.device.type == "cpu" for tensor in tensors(values))


@contextmanager
def fake_device() -> Iterator[Device]:
    """Where "cuda" is a device without data, and the project takes it for its own."""
    _device_constructors()  # torch keeps what it finds at first: it must find its own `torch.tensor`
    fake = FakeTensors(allow_non_fake_inputs=True)
    fake._allow_unsafe_data_ptr_access = True  # the cache asks whether two tensors begin at one place
    device = Device(fake)

    def tolist(tensor: FakeTensor) -> list:
        return device.read(tensor)

    with ExitStack() as stack:
        stack.enter_context(patch("torch.tensor", tensor_of_values))
        stack.enter_context(patch("training.utils.process.dist.device", lambda: CUDA))
        stack.enter_context(patch.object(FakeTensor, "tolist", tolist))
        # transformers would leave out what a tracer can't follow, and a GPU can.
        stack.enter_context(patch("transformers.utils.import_utils.is_fake_tensor", lambda tensor: False))
        stack.enter_context(patch.object(Tensor, "_make_subclass", staticmethod(on_meta)))
        stack.enter_context(patch.object(nn.Module, "_apply", apply))
        stack.enter_context(patch("torch.nn.functional.scaled_dot_product_attention", attention))
        for mode in (fake, device):
            stack.enter_context(mode)
        yield device
