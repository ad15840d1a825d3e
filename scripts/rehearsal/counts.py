"""What a step costs on a device, and which operations count as what."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

aten = torch.ops.aten
ROOT = Path(__file__).resolve().parents[2]

# They start nothing on a device: memory is set aside, or only the view of it changes.
NO_KERNEL = {
    *(aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided),
    *(aten._unsafe_view, aten.lift_fresh, aten._local_scalar_dense, aten.set_, aten.resize_),
}
# They read of their first input what they give, and not all of it.
LOOK_UPS = {aten.embedding, aten.index, aten.index_select, aten.gather}


@dataclass
class Counts:
    """What some work asked of the device."""

    flops: int = 0
    kernels: int = 0
    bytes: int = 0  # read and written by kernels
    syncs: int = 0  # times that the process waited for a value of the device
    peak: int = 0  # bytes alive at once
    places: Counter[str] = field(default_factory=Counter)  # syncs by the line that asked

    def __sub__(self, other: "Counts") -> "Counts":
        """What the first did and the second did not; the peak is the first's."""
        return Counts(
            self.flops - other.flops,
            self.kernels - other.kernels,
            self.bytes - other.bytes,
            self.syncs - other.syncs,
            self.peak,
            self.places - other.places,
        )


def tensors(values: object) -> Iterator[Tensor]:
    """The tensors in arguments or results of an operation."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors(value)
    elif isinstance(values, dict):
        yield from tensors(tuple(values.values()))


def is_kernel(function: torch._ops.OpOverload) -> bool:
    """Whether a device has something to do: it has not where all results are views of the arguments."""
    if function.overloadpacket in NO_KERNEL:
        return False
    returns = function._schema.returns
    return not returns or not all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def traffic(function: torch._ops.OpOverload, args: tuple, kwargs: dict, out: object) -> int:
    """Bytes that a kernel reads and writes, of each tensor once."""
    results = sum(map(num_bytes, tensors(out)))
    if function.overloadpacket in LOOK_UPS:
        return 2 * results + sum(map(num_bytes, tensors(args[1:])))
    return results + sum(map(num_bytes, tensors((args, kwargs))))


def num_bytes(tensor: Tensor) -> int:
    """What a tensor takes of memory: what is expanded is there once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


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
