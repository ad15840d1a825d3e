"""A frozen vision tower: one copy for all models of a process, run once for each batch of images."""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..engine.zero import made_whole
from ..process import dist


class FrozenTower(nn.Module):
    """Stands in a model where its vision tower was, and remembers what the tower said of the last images.

    The tower is not a submodule: it lives on the process's device whatever becomes of the model. No engine
    partitions it or looks for its gradients, and the policy, the reference, the critic and the reward model can
    hold the same one. Images are recognised by their values:
    whoever asks about the same pixels again gets the stored features, for all families alike.

    Attributes:
        takes_features: what comes in place of pixels is what the tower said of them, by `features_of`: it is not
            asked again.
    """

    def __init__(self, tower: nn.Module, read_layers: Sequence[int] | None = None) -> None:
        """
        Args:
            read_layers: which of all hidden states the model reads, where it asks for them: the others are forgotten
                at once, and what else the tower says of its last layer. Empty: that alone. None: it may read any.
        """
        super().__init__()
        tower = made_whole(tower).requires_grad_(False).eval().to(dist.device())
        self.__dict__["tower"] = tower  # hidden from nn.Module's bookkeeping
        self.__dict__["memory"] = deque(maxlen=1)
        self.takes_features = False
        self._is_overheard = False
        self.read_layers = None if read_layers is None else tuple(read_layers)
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
        if self.takes_features:
            return self._from_features(pixel_values.to(self.tower.dtype))
        asked = (pixel_values, *args, *(kwargs[name] for name in sorted(kwargs)))
        if (place := _known(asked, [known for known, _ in self.memory])) is not None:
            return _copied(self.memory[place][1])
        self.num_images_encoded += len(pixel_values)
        output = self._read(self.tower(pixel_values.to(self.tower.dtype), *args, **kwargs))
        if self._is_overheard:
            raise _Said(output)
        self.memory.append((asked, output))
        return _copied(output)

    def _read(self, output):
        """The tower's output without the layers that nobody reads."""
        states = getattr(output, "hidden_states", None)
        if states is None or self.read_layers is None:
            return output
        read = {layer % len(states) for layer in self.read_layers}
        kept = tuple(state if layer in read else None for layer, state in enumerate(states))
        last = output.last_hidden_state if not read or len(states) - 1 in read else None
        return type(output)(last_hidden_state=last, hidden_states=kept)

    def features_of(self, pixel_values: Tensor, ask: Callable[[], object]) -> Tensor:
        """What the model reads of the tower's output, in the shape of a picture so that it can travel as one: images
        or their tiles first, then layers for channels, places for rows, and features for columns. Of a tower that
        merges patches it is [tokens, 1 and its deep layers, features].

        Args:
            pixel_values: of one picture, or several that a family looks at together; nothing of them is padding.
            ask: has the model ask this tower about them, in its own way.
        """
        self.memory.clear()
        self._is_overheard = True
        try:
            ask()
        except _Said as said:
            output = said.output
        finally:
            self._is_overheard = False
        if pixel_values.dim() == 2:
            return torch.stack([output.pooler_output, *getattr(output, "deepstack_features", ())], dim=1)
        if self.read_layers:
            layers = torch.stack([output.hidden_states[layer] for layer in self.read_layers], dim=-3)
        else:
            layers = output.last_hidden_state.unsqueeze(-3)
        return layers.reshape(*pixel_values.shape[:-3], *layers.shape[-3:])

    def _from_features(self, features: Tensor) -> BaseModelOutputWithPooling:
        """The output that these features were taken from, as far as it is read."""
        if features.dim() == 3:
            pooled, *deep = features.unbind(1)
            output = BaseModelOutputWithPooling(pooler_output=pooled)
            output.deepstack_features = deep
            return output
        layers = features.unbind(-3)
        if self.read_layers:
            return BaseModelOutputWithPooling(hidden_states=dict(zip(self.read_layers, layers, strict=True)))
        return BaseModelOutputWithPooling(last_hidden_state=layers[0])


class _Said(Exception):
    """Leaves the model's code where its tower has spoken: what comes behind may have its weights elsewhere."""

    def __init__(self, output) -> None:
        self.output = output


def frozen_towers(*models: nn.Module) -> list[FrozenTower]:
    return [module for model in models for module in model.modules() if isinstance(module, FrozenTower)]


def _copied(output):
    """A shallow copy: transformers writes the projected features into the tower's output."""
    return output if isinstance(output, Tensor | tuple) else type(output)(**output)


def _known(asked: tuple, remembered: list[tuple]) -> int | None:
    """Which of the remembered arguments are the same. The device is waited for once at most."""
    alike: dict[
        int, Tensor
    ] = {}  # by place, whether the tensors that are not the same objects have the same values
    for place, known in enumerate(remembered):
        pairs = list(zip(known, asked, strict=False))
        differ = [(a, b) for a, b in pairs if isinstance(a, Tensor) and a is not b]
        if len(known) != len(asked) or any(
            not isinstance(b, Tensor) or a.shape != b.shape or a.device != b.device for a, b in differ
        ):
            continue
        if not all(a == b for a, b in pairs if not isinstance(a, Tensor)):
            continue
        # What is apart from the pixels, as sizes of pictures are on the CPU, is known without a wait.
        apart = [(a, b) for a, b in differ if a.device != asked[0].device]
        if not all((a == b).all() for a, b in apart):
            continue
        differ = [(a, b) for a, b in differ if a.device == asked[0].device]
        if not differ:
            return place
        alike[place] = torch.stack([(a == b).all() for a, b in differ]).all()
    if not alike:
        return None
    return next(
        (p for p, same in zip(alike, torch.stack([*alike.values()]).tolist(), strict=True) if same), None
    )


def share_towers(*models: nn.Module, remembered_batches: int = 1) -> None:
    """Lets the frozen towers of some models be one, where their weights are equal.

    Args:
        remembered_batches: batches of images that all models see before the next ones come.
    """
    frozen = frozen_towers(*models)
    for number, tower in enumerate(frozen):
        tower.__dict__["memory"] = deque(maxlen=remembered_batches)
        for earlier in frozen[:number]:
            if tower.read_layers == earlier.read_layers and _equal_weights(tower.tower, earlier.tower):
                tower.__dict__.update(tower=earlier.tower, memory=earlier.memory)
                tower.takes_features = earlier.takes_features
                break


def _equal_weights(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        first[name].shape == second[name].shape and torch.equal(first[name], second[name]) for name in first
    )
