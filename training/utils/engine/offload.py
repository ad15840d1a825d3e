"""Memory of the CPU in place of the device's: for models that wait, and for activations until the backward pass."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.optim import Optimizer

from .rest import Rest, storages
from .zero import let_go


@runtime_checkable
class Rests(Protocol):
    """A model that may be on the device only while it works."""

    def working(self) -> AbstractContextManager[None]: ...


class Resting(nn.Module):
    """A frozen model whose weights rest in CPU memory, and are on the device only while it works.

    What is no submodule, as a frozen tower that models share, stays where it is.
    """

    def __init__(self, module: nn.Module, device: torch.device | None = None) -> None:
        """
        Args:
            device: where it works; none: the process's own.
        """
        super().__init__()
        module.requires_grad_(False)
        module.eval()
        self.module = module
        self.rest = Rest(lambda: weights(module), device)
        self.rest.leave()

    def working(self) -> AbstractContextManager[None]:
        """Where its weights are on the device: once for many calls. Each call alone sees to it, too."""
        return self.rest.working()

    def forward(self, *args, **kwargs) -> Tensor:
        with self.working():
            return self.module(*args, **kwargs)


def at_work(*models: Callable[..., Tensor]) -> ExitStack:
    """Where those of some models that rest otherwise are on the device."""
    stack = ExitStack()
    for model in models:
        if isinstance(model, Rests):
            stack.enter_context(model.working())
    return stack


@contextmanager
def away(model: nn.Module) -> Iterator[None]:
    """Where the weights of a model that no engine has yet are not on the device."""
    rest = Rest(lambda: weights(model))
    rest.leave()
    yield
    rest.arrive()


class RestOfTrained:
    """Of a model in training: its weights, and apart from them what its steps alone need, which is masters, moments
    and sums of gradients. It rests between steps, when there are no gradients."""

    def __init__(self, engine: Any, adamw: Optimizer) -> None:
        """
        Args:
            engine: DeepSpeed's.
        """

        def state() -> Iterator[tuple[Tensor, bool]]:
            own = storages(weights(engine), self.weights.device)  # fp32 weights can be their own masters
            for tensor in tensors_in([vars(engine.optimizer), adamw.state]):
                if tensor.untyped_storage()._cdata not in own:
                    yield tensor, True

        self.weights = Rest(lambda: weights(engine))
        self.state = Rest(state)
        self.state.leave()
        self.weights.leave()

    @contextmanager
    def working(self, steps: bool) -> Iterator[None]:
        """Where its weights are on the device, and with `steps` the other things."""
        with self.weights.working(), self.state.working() if steps else nullcontext():
            yield


def weights(model: nn.Module) -> Iterator[tuple[Tensor, bool]]:
    """What a process has of a model's weights, and whether they change. Those that ZeRO-3 has gathered are let go
    first. Buffers are small: they stay."""
    let_go(model)
    for parameter in model.parameters():
        yield parameter, parameter.requires_grad
        if hasattr(parameter, "ds_tensor"):
            yield parameter.ds_tensor, parameter.requires_grad


def tensors_in(values: object) -> Iterator[Tensor]:
    """Tensors in lists and tables, and in lists and tables within them."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from tensors_in([*values.values()])
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_in(value)


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
