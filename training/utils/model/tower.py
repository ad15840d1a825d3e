"""A frozen vision tower: one copy for all models of a process, run once for each batch of images."""

from collections import deque

import torch
from torch import Tensor, nn

from .. import dist
from ..zero import made_whole


class FrozenTower(nn.Module):
    """Stands in a model where its vision tower was, and remembers what the tower said of the last images.

    The tower is not a submodule: it lives on the process's device whatever becomes of the model. No engine
    partitions it or looks for its gradients, and the policy, the reference, the critic and the reward model can
    hold the same one. Images are recognised by their values:
    whoever asks about the same pixels again gets the stored features, for all families alike.
    """

    def __init__(self, tower: nn.Module, remembered_batches: int = 1) -> None:
        super().__init__()
        tower = made_whole(tower).requires_grad_(False).eval().to(dist.device())
        self.__dict__["tower"] = tower  # hidden from nn.Module's bookkeeping
        self.__dict__["memory"] = deque(maxlen=remembered_batches)
        self.num_images_encoded = 0

    def __getattr__(self, name: str):
        if name in ("tower", "memory"):
            return self.__dict__[name]
        return getattr(self.tower, name)  # families ask their tower for its dtype, patch size, ...

    def whole(self) -> nn.Module:
        """The tower itself."""
        return self.tower

    @torch.no_grad()
    def forward(self, pixel_values: Tensor, *args, **kwargs):
        asked = (pixel_values, *args, *(kwargs[name] for name in sorted(kwargs)))
        for known, output in self.memory:
            if _same(known, asked):
                return _copied(output)
        self.num_images_encoded += len(pixel_values)
        output = self.tower(pixel_values.to(self.tower.dtype), *args, **kwargs)
        self.memory.append((asked, output))
        return _copied(output)


def _copied(output):
    """A shallow copy: transformers writes the projected features into the tower's output."""
    return output if isinstance(output, Tensor | tuple) else type(output)(**output)


def _same(known: tuple, asked: tuple) -> bool:
    return len(known) == len(asked) and all(
        (a is b or a.shape == b.shape and torch.equal(a, b)) if isinstance(a, Tensor) else a == b
        for a, b in zip(known, asked, strict=True)
    )


def share_towers(*models: nn.Module, remembered_batches: int = 1) -> None:
    """Lets the frozen towers of some models be one, where their weights are equal.

    Args:
        remembered_batches: batches of images that all models see before the next ones come.
    """
    frozen = [module for model in models for module in model.modules() if isinstance(module, FrozenTower)]
    for number, tower in enumerate(frozen):
        tower.__dict__["memory"] = deque(maxlen=remembered_batches)
        for earlier in frozen[:number]:
            if _equal_weights(tower.tower, earlier.tower):
                tower.__dict__.update(tower=earlier.tower, memory=earlier.memory)
                break


def _equal_weights(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        first[name].shape == second[name].shape and torch.equal(first[name], second[name]) for name in first
    )
