"""Output folders: models that the next stage, prediction and transformers can load; state to resume from.

    OUTPUT/epoch-0/         the model: safetensors, config, processor, alignment.json, value_head.safetensors,
                            adapter/ where adapters are all that was trained
    OUTPUT/checkpoint-200/  the same, and state/: optimizer, schedule, random numbers of every process
    OUTPUT/latest           name of the newest model folder; moves last

A folder is written under a temporary name and renamed when it is whole, so a run that is killed meanwhile
leaves the one before untouched.
"""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .. import dist
from ..data.encode import Encoder
from ..data.loader import Data
from ..data.record import DataError
from ..engine import Engine
from ..identity import Identity, identify
from ..model.backbone import Adapted
from ..model.lora import save_adapter
from ..model_folder import ADAPTER_FOLDER, write_extras
from ..stop import Stopped
from ..train_config import TrainConfig
from ..zero import load_state_file
from .claim import FINISHED, LATEST, claim
from .manifest import write_manifest
from .random_state import random_state, set_random_state
from .states import STATE, checkpoints, remove


class Run:
    """The output folder of one training run."""

    def __init__(self, config: TrainConfig, encoder: Encoder, data: Data) -> None:
        """Claims the folder, and writes into it what the run is. All processes must call it.

        Raises:
            DataError: the folder holds another run, or `--resume` does not say to go on with it.
            AlreadyFinished: it says so, and that run has reached its end.
        """
        self.folder = Path(config.output_dir)
        self.limit = config.save_total_limit
        self.resumes = config.resume == "auto"
        self.saved = ""  # name of the newest checkpoint of this start
        self.processor = encoder.processor
        self.metadata: dict[str, Any] = {  # what later stages need to know
            "template": encoder.template_name,
            "word_tokens": encoder.word_tokens,
        }
        self.adapts = config.only_optimize_lora

        def start() -> tuple[Identity, Path | None]:
            identity = identify(config, encoder, data)
            return identity, claim(self.folder, config, identity, data.sampler.num_steps)

        identity, self.resume_from = dist.from_main(start)
        if self.adapts:  # an adapter fits on the weights that it was trained on, and no others
            self.metadata["adapter_of"] = identity.weights_of("from_checkpoint")

    def save_model(self, name: str, engine: Engine) -> None:
        """Writes the model folder `name`. All processes must call it."""
        with self._written(name) as folder:
            self._write_model(folder, engine)

    def finish(self, stopped_by: str = "") -> None:
        """Marks the run as having reached its end.

        Raises:
            Stopped: something made it stop before that; its checkpoint is written.
        """
        if stopped_by:
            how = "" if self.resumes else " with --resume auto"
            raise Stopped(
                f"{stopped_by} asked for it; {self.folder / self.saved} is written; to go on, start it again{how}",
                by_all=True,
            )
        if dist.is_main():
            (self.folder / FINISHED).touch()

    def save_checkpoint(
        self, step: int, engines: dict[str, Engine], state: dict[str, Any] | None = None
    ) -> None:
        """Writes `checkpoint-{step}`: the first engine's model, and the state of all. All processes must call it.

        Args:
            state: what the stage itself has to remember, the same on every process.
        """
        with self._written(f"checkpoint-{step}") as folder:
            self._write_model(folder, next(iter(engines.values())))
            for name, engine in engines.items():
                engine.save_state(folder / STATE / name, {"stage": state or {}, "step": step})
            torch.save(random_state(), folder / STATE / f"random-{dist.rank()}.pt")
        self.saved = f"checkpoint-{step}"
        if dist.is_main() and self.limit:
            for folder in checkpoints(self.folder)[: -self.limit]:
                remove(folder)

    def load_checkpoint(self, engines: dict[str, Engine]) -> tuple[int, dict[str, Any]]:
        """Restores the engines. Returns the optimizer step to go on from (0 for a new run) and the stage's state."""
        if self.resume_from is None:
            return 0, {}
        states = sorted((self.resume_from / STATE).glob("random-*.pt"))
        if len(states) != dist.world_size():
            raise DataError(
                f"{self.resume_from}: was written by {len(states)} processes, and these are {dist.world_size()}; "
                "resume with as many"
            )
        for name, engine in engines.items():
            client_state = engine.load_state(self.resume_from / STATE / name)
        file = self.resume_from / STATE / f"random-{dist.rank()}.pt"
        set_random_state(load_state_file(str(file)))
        return client_state["step"], client_state["stage"]

    def _write_model(self, folder: Path, engine: Engine) -> None:
        state = engine.state_dict()
        if not dist.is_main():
            return
        module = engine.module
        head = {name.removeprefix("v_head."): t for name, t in state.items() if name.startswith("v_head.")}
        weights = {name.removeprefix("model."): t for name, t in state.items() if name.startswith("model.")}
        model = module.model
        if isinstance(model, Adapted):
            model, weights = model.whole(), model.whole_weights()
        module.family.save_model(model, folder, weights)
        if self.adapts:
            save_adapter(model, weights, folder / ADAPTER_FOLDER)
        self.processor.save_pretrained(folder)
        write_extras(folder, head, self.metadata)

    @contextmanager
    def _written(self, name: str):
        """A folder to write into, which gets its name when it is whole, and then `latest` names it."""
        temporary = self.folder / f".{name}.partial"
        if dist.is_main():
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        dist.barrier()
        yield temporary
        dist.barrier()
        write_manifest(temporary)
        if dist.is_main():
            for file in temporary.rglob("*"):
                if file.is_file():
                    _sync(file)
            final = self.folder / name
            if final.exists():  # from before a crash: this run has come here again
                remove(final)
            temporary.rename(final)
            _sync(self.folder)
            pointer = self.folder / ".latest"
            pointer.write_text(name + "\n")
            _sync(pointer)
            pointer.replace(self.folder / LATEST)
        dist.barrier()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
