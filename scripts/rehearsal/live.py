"""Memory that is alive: bytes of tensors until nothing refers to them any more."""

import weakref

import torch

from scripts.rehearsal.counts import tensors


class Live:
    """Bytes of the tensors on a kind of device, of each storage once."""

    def __init__(self, device_type: str) -> None:
        self.device_type = device_type
        self.now = self.peak = 0
        self.sizes: weakref.WeakKeyDictionary[torch.UntypedStorage, list[int]] = weakref.WeakKeyDictionary()

    def hold(self, values: object) -> None:
        """Counts what is new of the tensors in arguments or results of an operation."""
        for tensor in tensors(values):
            if tensor.device.type != self.device_type:
                continue
            if tensor.untyped_storage() not in self.sizes:
                self.measure(tensor.untyped_storage())

    def measure(self, storage: torch.UntypedStorage) -> None:
        """Counts a storage as it is now: it may have been emptied or filled."""
        if (size := self.sizes.get(storage)) is None:
            self.sizes[storage] = size = [0]
            weakref.finalize(storage, self.release, size).atexit = False
        self.now += storage.nbytes() - size[0]
        size[0] = storage.nbytes()
        self.peak = max(self.peak, self.now)

    def release(self, size: list[int]) -> None:
        self.now -= size[0]
