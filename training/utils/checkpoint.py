"""Output folders: models that the next stage, prediction and transformers can load; state to resume from.

    OUTPUT/epoch-0/         the model: safetensors, config, processor, alignment.json, value_head.safetensors,
                            adapter/ where adapters are all that was trained
    OUTPUT/checkpoint-200/  the same, and state/: optimizer, schedule, random numbers of every process
    OUTPUT/latest           name of the newest model folder; moves last

A folder is written under a temporary name and renamed when it is whole, so a run that is killed meanwhile
leaves the one before untouched.
"""

import hashlib
import json
import os
import random
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from . import dist
from .arguments import save_args
from .config import TrainConfig
from .data.encode import Encoder
from .data.record import DataError
from .engine import Engine
from .model.backbone import Adapted
from .model.lora import save_adapter

HEAD_FILE = "value_head.safetensors"
METADATA_FILE = "alignment.json"
STATE = "state"
ADAPTER_FOLDER = "adapter"  # beside the merged weights, where adapters are all that was trained


def resolve_checkpoint(path: str | Path) -> Path:
    """The model folder that a path means: itself, or the newest one of a stage's output folder.

    Raises:
        DataError: there is no model.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return path
    latest = path / "latest"
    if latest.is_file() and (path / latest.read_text().strip() / "config.json").is_file():
        return path / latest.read_text().strip()
    if any(path.glob("pytorch_model*.bin")):
        raise DataError(f"{path}: weights without config.json; see training/utils/model/legacy_weights.py")
    found = "no such folder" if not path.is_dir() else "holds no config.json and no finished epoch"
    raise DataError(f"{path}: {found}; expected a model folder or the output folder of a training stage")


def write_extras(folder: Path, head: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """What this project adds to a model folder of transformers: the value head, if there is one, and what later
    stages need to know."""
    if head:
        save_file({name: tensor.contiguous() for name, tensor in head.items()}, folder / HEAD_FILE)
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n")


def read_metadata(folder: Path) -> dict[str, Any]:
    """What an earlier stage wrote about the checkpoint: its template."""
    file = folder / METADATA_FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights of a model folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


class AlreadyFinished(Exception):
    """The run that `--resume` should go on with has reached its end."""


class Run:
    """The output folder of one training run."""

    def __init__(self, config: TrainConfig, encoder: Encoder) -> None:
        """Claims the folder, and writes the resolved arguments into it.

        Raises:
            DataError: the folder holds another run, and `--resume` does not say to go on with it.
            AlreadyFinished: it says so, and that run has reached its end.
        """
        self.folder = Path(config.output_dir)
        self.limit = config.save_total_limit
        self.processor = encoder.processor
        self.metadata: dict[str, Any] = {  # what later stages need to know
            "template": encoder.template_name,
            "word_tokens": encoder.word_tokens,
        }
        self.adapts = config.only_optimize_lora
        if config.resume == "auto" and (self.folder / "finished").is_file():
            raise AlreadyFinished(f"{self.folder}: finished before; nothing to do")
        self.resume_from = self._find_state(config.resume)
        if self.resume_from is None and (self.folder / "latest").is_file():
            raise DataError(
                f"--output_dir {self.folder}: holds another run; choose another folder, remove this one, or go on "
                "with --resume auto"
            )
        if dist.is_main():
            self.folder.mkdir(parents=True, exist_ok=True)
            save_args(config, self.folder)
        if (
            dist.is_main() and self.adapts
        ):  # an adapter fits on the weights that it was trained on, and no others
            self.metadata["adapter_of"] = weights_digest(resolve_checkpoint(config.from_checkpoint))

    def _find_state(self, resume: str) -> Path | None:
        if resume == "never":
            return None
        if resume != "auto":
            if not (Path(resume) / STATE).is_dir():
                raise DataError(
                    f"--resume {resume}: no checkpoint; expected never, auto or a folder checkpoint-STEP"
                )
            return Path(resume)
        states = [folder for folder in self.folder.glob("checkpoint-*") if (folder / STATE).is_dir()]
        return max(states, key=lambda folder: int(folder.name.split("-")[1]), default=None)

    def save_model(self, name: str, engine: Engine) -> None:
        """Writes the model folder `name`. All processes must call it."""
        with self._written(name) as folder:
            self._write_model(folder, engine)

    def finish(self) -> None:
        """Marks the run as having reached its end."""
        if dist.is_main():
            (self.folder / "finished").touch()

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
            torch.save(_random_state(), folder / STATE / f"random-{dist.rank()}.pt")
        if dist.is_main() and self.limit:
            old = sorted(self.folder.glob("checkpoint-*"), key=lambda f: int(f.name.split("-")[1]))[
                : -self.limit
            ]
            for folder in old:
                shutil.rmtree(folder)

    def load_checkpoint(self, engines: dict[str, Engine]) -> tuple[int, dict[str, Any]]:
        """Restores the engines. Returns the optimizer step to go on from (0 for a new run) and the stage's state."""
        if self.resume_from is None:
            return 0, {}
        for name, engine in engines.items():
            client_state = engine.load_state(self.resume_from / STATE / name)
        file = self.resume_from / STATE / f"random-{dist.rank()}.pt"
        if not file.is_file():
            raise DataError(f"{file}: not there; resume with as many processes as the run was started with")
        _set_random_state(torch.load(file, weights_only=True))
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
        if dist.is_main():
            for file in temporary.rglob("*"):
                if file.is_file():
                    _sync(file)
            final = self.folder / name
            if final.exists():  # from before a crash: this run has come here again
                final.rename(self.folder / f".{name}.old")
            temporary.rename(final)
            shutil.rmtree(self.folder / f".{name}.old", ignore_errors=True)
            _sync(self.folder)
            pointer = self.folder / ".latest"
            pointer.write_text(name + "\n")
            _sync(pointer)
            pointer.replace(self.folder / "latest")
        dist.barrier()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _random_state() -> dict[str, Any]:
    numpy_state = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _set_random_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
