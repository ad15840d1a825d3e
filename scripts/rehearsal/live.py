"""Memory that is alive: bytes of tensors until nothing refers to them any more."""

import weakref

import torch

from scripts.rehearsal.counts import tensors


class Live:
    """Bytes of the tensors on a kind of device, of each storage once."""

    def __init__(self, device_type: str) -> None:
        self.device_type = device_type
        self.now = self.peak = 0
        self.seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def hold(self, values: object) -> None:
        """Counts what is new of the tensors in arguments or results of an operation."""
        for tensor in tensors(values):
            if tensor.device.type != self.device_type:
                continue
            storage = tensor.untyped_storage()
            if storage not in self.seen:
                self.seen.add(storage)
                self.now += (size := storage.nbytes())
                weakref.finalize(storage, self.release, size).atexit = False
        self.peak = max(self.peak, self.now)

    def release(self, size: int) -> None:
        self.now -= size
