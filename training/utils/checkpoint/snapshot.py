"""What a run is after a step: taken on the training thread, written on another one."""

import json
from collections.abc import Callable, Container, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from ..engine.engine import Engine
from ..files.model_folder import ADAPTER_FOLDER, HEAD, write_extras
from ..model.backbone import Adapted
from ..model.lora import save_adapter
from ..model.save import names_in_files, save_model
from ..process import dist
from .engine_state import facts, fragments
from .random_state import random_state
from .state_files import RANDOM, write_facts, write_fragments
from .states import STATE


@dataclass
class State:
    """The state of some engines."""

    engines: dict[str, Engine]  # whose tensors these are; none of copies
    tensors: dict[
        str, dict[str, Tensor]
    ]  # of this process, by engine; views of what training goes on changing
    numbers: dict[str, Any]  # random ones of this process
    facts: dict[str, Any]

    @classmethod
    def of(
        cls, engines: dict[str, Engine], elsewhere: Mapping[str, Container[str]], about: dict[str, Any]
    ) -> Self:
        """
        Args:
            elsewhere: by engine, names of weights whose masters are kept elsewhere.
            about: what else to remember, plain values, the same on every process.
        """
        tensors = {}
        for name, engine in engines.items():
            with engine.working(steps=True):
                tensors[name] = fragments(engine, elsewhere.get(name, ()))
        known = {name: facts(engine) for name, engine in engines.items()}
        return cls(
            engines, tensors, random_state(), {"processes": dist.world_size(), "engines": known} | about
        )

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for part in self.tensors.values() for tensor in part.values())

    def copy(self) -> Self:
        """The same on the CPU, and not changed any more."""
        tensors = {}
        for name, part in self.tensors.items():
            with self._working(name):
                tensors[name] = {key: tensor.to("cpu", copy=True) for key, tensor in part.items()}
        return type(self)({}, tensors, self.numbers, self.facts)

    def _working(self, name: str) -> AbstractContextManager[None]:
        """Where the tensors of an engine can be read: it may rest. One engine at a time."""
        return self.engines[name].working(steps=True) if name in self.engines else nullcontext()

    def write(self, checkpoint: Path) -> list[str]:
        """Writes the files of this process into the folder of a checkpoint, and returns their names there."""
        folder = checkpoint / STATE
        folder.mkdir(exist_ok=True)
        written = [folder / RANDOM.format(dist.rank())]
        written[0].write_text(json.dumps(self.numbers))
        for name, tensors in self.tensors.items():
            with self._working(name):
                written += write_fragments(tensors, folder, name)
        if dist.is_main():
            write_facts(self.facts, folder)
        return [file.relative_to(checkpoint).as_posix() for file in written]


def places(engine: Engine) -> dict[str, str]:
    """Where the weights of an engine stand in the folder of its model, as they are: their names in its files, by
    those that the engine has for them."""
    module = engine.module
    found = {f"model.{name}": there for name, there in names_in_files(module.family, module.model).items()}
    return found | {name: name for name in module.state_dict() if name.startswith(HEAD)}


def model_writer(
    engine: Engine, copies: bool, metadata: dict[str, Any], with_adapter: bool
) -> Callable[[Path], None]:
    """What writes the model of an engine into a folder, but for its processor. All processes must call this; the main
    one may call what it returns, on any thread.

    Args:
        copies: whether the weights stay as they are now, whatever becomes of the model.
        metadata: what later stages need to know.
        with_adapter: write its adapters apart, too.
    """
    state = engine.state_dict(copies)
    module = engine.module
    model = module.model
    head = {name.removeprefix(HEAD): t for name, t in state.items() if name.startswith(HEAD)}
    about = [module.v_head.scale, module.v_head.aspects] if head else []
    weights = {name.removeprefix("model."): t for name, t in state.items() if name.startswith("model.")}
    if isinstance(model, Adapted):
        model, weights = model.whole(), model.whole_weights() if dist.is_main() else {}

    def write(folder: Path) -> None:
        save_model(module.family, model, folder, weights)
        if with_adapter:
            save_adapter(model, weights, folder / ADAPTER_FOLDER)
        write_extras(folder, head, metadata, *about)

    return write
