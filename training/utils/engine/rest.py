"""Memory that leaves the device while nobody works with it, and comes back.

A storage is emptied and filled again where it is, as FSDP does with its own (arXiv 2304.11277). So all views of it
stay what they are, whatever the ZeRO stage: weights within DeepSpeed's flat tensors, a process's share of them,
masters and moments. Nobody may read a tensor meanwhile: it has no memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, UntypedStorage

from ..process import dist

# Tensors, and whether they may have changed since they came.
Tensors = Iterable[tuple[Tensor, bool]]
SMALL = 2**20  # bytes


class Rest:
    """Memory of some tensors, on the device only within `working`.

    What does not change is copied once: from then on, leaving the device is forgetting what is there.
    """

    def __init__(self, tensors: Callable[[], Tensors], device: torch.device | None = None) -> None:
        """
        Args:
            tensors: gives them each time that they leave: an optimizer gets its moments on the way.
            device: that they leave; none: the process's own. Tensors elsewhere stay.
        """
        self.tensors, self.device = tensors, device or dist.device()
        self.unchanging: dict[int, tuple[UntypedStorage, list[Tensor]]] = {}  # with copies
        self.away: list[tuple[UntypedStorage, list[Tensor]]] = []  # what has left, with copies
        self.works = True

    @contextmanager
    def working(self) -> Iterator[None]:
        """Where the tensors are on the device. Within it, this costs nothing."""
        if self.works:
            yield
            return
        self.arrive()
        try:
            yield
        finally:
            self.leave()

    def leave(self) -> None:
        self._synchronize()
        known, self.unchanging = self.unchanging, {}
        for key, (storage, changes) in storages(self.tensors(), self.device).items():
            copy = known[key][1] if key in known and not changes else copied(storage)
            if not changes:
                self.unchanging[key] = storage, copy
            self.away.append((storage, copy))
            empty(storage)
        self.works = False
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # for models of other sizes, and other programs

    def arrive(self) -> None:
        for storage, copy in self.away:
            fill(storage, copy)
        self._synchronize()
        self.away = []
        self.works = True

    def _synchronize(self) -> None:
        """DeepSpeed reads and writes on streams of its own, which do not wait for ours."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def storages(tensors: Tensors, device: torch.device) -> dict[int, tuple[UntypedStorage, bool]]:
    """The memory of tensors that is on a device and can leave it, each once, and whether it may have changed. Single
    numbers stay, and maps of a file, which take no memory."""
    found: dict[int, tuple[UntypedStorage, bool]] = {}
    for tensor, changes in tensors:
        storage = tensor.untyped_storage()
        if tensor.device == device and tensor.dim() and storage.nbytes() and storage.resizable():
            key = storage._cdata
            found[key] = storage, changes or (key in found and found[key][1])
    return found


def copied(storage: UntypedStorage) -> list[Tensor]:
    """The bytes of a storage in CPU memory, in parts."""
    pinned = storage.device.type == "cuda"
    parts = bytes_of(storage).split(part_sizes(storage.nbytes()))
    return [torch.empty(len(part), dtype=torch.uint8, pin_memory=pinned).copy_(part) for part in parts]


def part_sizes(num_bytes: int) -> list[int]:
    """Powers of two and a small rest: PyTorch takes pinned memory in powers of two, for 9 GiB 16."""
    sizes = []
    while num_bytes >= SMALL:
        sizes.append(1 << (num_bytes.bit_length() - 1))
        num_bytes -= sizes[-1]
    return [*sizes, num_bytes] if num_bytes else sizes


def empty(storage: UntypedStorage) -> None:
    storage.resize_(0)


def fill(storage: UntypedStorage, copy: Sequence[Tensor]) -> None:
    sizes = [len(part) for part in copy]
    storage.resize_(sum(sizes))
    for part, saved in zip(bytes_of(storage).split(sizes), copy, strict=True):
        part.copy_(saved, non_blocking=True)


def bytes_of(storage: UntypedStorage) -> Tensor:
    """A view, uint8, [bytes]."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
