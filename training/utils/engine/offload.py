"""Memory of the CPU in place of the device's: for models that wait, and for activations until the backward pass."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu

from ..process import dist


class Resting(nn.Module):
    """A frozen model whose weights rest in CPU memory, and are on the device only while it works.

    Nothing is copied back: frozen weights do not change, so leaving the device is forgetting the copy there. What is
    no submodule, as a frozen tower that models share, stays where it is.
    """

    def __init__(self, module: nn.Module, device: torch.device | None = None) -> None:
        """
        Args:
            device: where it works; none: the process's own.
        """
        super().__init__()
        self.module = module.requires_grad_(False).eval()
        self.device = device or dist.device()
        pinned = torch.cuda.is_available()
        tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}.values()
        self.rest = [(t, t.detach().cpu().pin_memory() if pinned else t.detach().cpu()) for t in tensors]
        self.works = False
        self._leave()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Where its weights are on the device: once for many calls. Each call alone sees to it, too."""
        if self.works:
            yield
            return
        for tensor, resting in self.rest:
            tensor.data = self._arrive(resting)
        self.works = True
        try:
            yield
        finally:
            self._leave()

    def _arrive(self, resting: Tensor) -> Tensor:
        return resting.to(self.device, non_blocking=True)

    def _leave(self) -> None:
        for tensor, resting in self.rest:
            tensor.data = resting
        self.works = False

    def forward(self, *args, **kwargs) -> Tensor:
        with self.working():
            return self.module(*args, **kwargs)


def at_work(*models: nn.Module) -> ExitStack:
    """Where those of some models that rest otherwise are on the device."""
    stack = ExitStack()
    for model in models:
        if isinstance(model, Resting):
            stack.enter_context(model.working())
    return stack


class activations_on_cpu(save_on_cpu):  # noqa: N801  (a context, named as torch names its own)
    """Within it, what a forward pass keeps for the backward pass waits in CPU memory, but for the weights: they are
    on the device anyway."""

    def __init__(self) -> None:
        super().__init__(pin_memory=torch.cuda.is_available())
        pack, unpack = self.pack_hook, self.unpack_hook
        self.pack_hook = lambda tensor: tensor if is_weight(tensor) else pack(tensor)
        self.unpack_hook = lambda packed: packed if isinstance(packed, Tensor) else unpack(packed)


def is_weight(tensor: Tensor) -> bool:
    """Whether it is a parameter or a view of one, such as the transpose that a linear layer keeps."""
    return isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)
