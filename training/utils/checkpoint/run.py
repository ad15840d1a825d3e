"""Output folders: models that the next stage, prediction and transformers can load; state to resume from.

    OUTPUT/epoch-0/         the model: safetensors, config, processor, alignment.json, value_head.safetensors,
                            adapter/ where adapters are all that was trained
    OUTPUT/checkpoint-200/  the same, and state/ (state_files.py); of a run that trains adapters, state/ alone
    OUTPUT/latest           name of the newest of them; moves last

A folder is written under a temporary name and renamed when it is whole, so a run that is killed meanwhile
leaves the one before untouched.
"""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..config.train_config import TrainConfig
from ..data.encode import Encoder
from ..data.loader import Data
from ..engine.engine import Engine
from ..files.model_folder import read_metadata, resolve_checkpoint
from ..loop.pace import Due
from ..process import dist
from ..process.stop import Stopped
from ..run.identity import Identity, identify
from .background import free_memory, saving
from .claim import FINISHED, claim
from .engine_state import MASTER, restore
from .manifest import collect_reports, report
from .publish import begin, link, publish
from .random_state import seed_anew, set_random_state
from .snapshot import State, model_writer, places
from .state_files import RANDOM, Fragments, read_facts
from .states import STATE, remove, surplus

MARGIN = 1.2  # of free memory over what a copy takes


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
        self.seed = config.seed
        self.saved = ""  # name of the newest checkpoint of this start
        self._stall: dict[str, float] = {}
        self.processor = encoder.processor
        self.metadata: dict[str, Any] = {  # what later stages need to know
            "template": encoder.template_name,
            "word_tokens": encoder.word_tokens,
        }
        self.adapts = config.only_optimize_lora
        self.has_adapters = config.lang_lora_dim + config.vis_lora_dim > 0
        self.in_4bit = config.load_in_4bit
        # Weights in fp32 are their own masters, and a model that is written beside them need not be written twice,
        # but for those that its files hold in another form.
        self.masters_in_model = config.torch_dtype == torch.float32 and not self.has_adapters

        def start() -> tuple[Identity, Path | None]:
            identity = identify(config, encoder, [data.train, data.held_out])
            trained_here = read_metadata(resolve_checkpoint(config.from_checkpoint))  # empty if not here
            facts = {
                "records_with_pictures": int((data.train.num_images > 0).sum()),
                "checkpoint_template": trained_here.get("template"),
            }
            return identity, claim(self.folder, config, identity, data.sampler.num_steps, **facts)

        identity, self.resume_from = dist.from_main(start)
        if self.adapts:  # an adapter fits on the weights that it was trained on, and no others
            self.metadata["adapter_of"] = identity.weights_of("from_checkpoint")

    def save(
        self, step: int, due: Due, engines: dict[str, Engine], stage: dict[str, Any] | None = None
    ) -> None:
        """Writes what is due after a step: the model that ends an epoch; `checkpoint-STEP` with the state of all
        engines, and the model of the first. All processes must call it.

        What is to be written is copied, and the files come while training goes on; where memory is too short for the
        copies, training waits for the files.

        Args:
            stage: what the stage itself has to remember, plain values, the same on every process.

        Raises:
            Exception: what has kept the save before from being written, at the first step that can tell.
        """
        saving.check()
        checkpoint = f"checkpoint-{step}" if due.checkpoint else ""
        if not (names := [name for name in (due.model, checkpoint) if name]):
            return
        began = time.monotonic()
        saving.wait()
        partials = begin(self.folder, names)
        models = [partials[name] for name in names if name == due.model or not self.has_adapters]
        first, engine = next(iter(engines.items()))
        trained = [name for name, p in engine.module.named_parameters() if p.requires_grad]
        in_model = places(engine) if checkpoint and self.masters_in_model else {}
        state = State.of(
            engines if checkpoint else {}, {first: in_model}, {"step": step, "stage": stage or {}}
        )
        num_bytes = state.num_bytes + (engine.trained_bytes if models and dist.is_main() else 0)
        # Adapters on 4-bit weights are merged into a model that is loaded for it: no work for a second thread.
        if copies := MARGIN * num_bytes < free_memory() and not (models and self.in_4bit):
            state = state.copy()
        if models:
            write_model = model_writer(engine, copies, self.metadata, self.adapts)
            if dist.is_main():  # at once, for it reads the next records too
                self.processor.save_pretrained(models[0])

        def write() -> None:
            written = state.write(partials[checkpoint]) if checkpoint else []
            if not dist.is_main():
                return report(partials[checkpoint], written) if checkpoint else None
            if models:
                write_model(models[0])
                for other in models[1:]:
                    link(models[0], other)
            if in_model:
                require_masters(models[0], trained, in_model)
            publish(self.folder, partials, collect_reports(partials[checkpoint]) if checkpoint else {})
            for old in surplus(self.folder, step, self.limit):
                remove(old)

        saving.start(write) if copies else write()
        self.saved = names[-1]
        self._stall = {"save_stall_s": time.monotonic() - began}

    def stall(self) -> dict[str, float]:
        """Seconds that training has waited for a save, if there was one since this was asked."""
        stall, self._stall = self._stall, {}
        return stall

    def finish(self, stopped_by: str = "") -> None:
        """Waits until all is written, and marks the run as having reached its end.

        Raises:
            Stopped: something made it stop before that; its checkpoint is written.
        """
        saving.wait()
        if stopped_by:
            how = "" if self.resumes else " with --resume auto"
            raise Stopped(
                f"{stopped_by} asked for it; {self.folder / self.saved} is written; to go on, start it again{how}",
                by_all=True,
            )
        if dist.is_main():
            (self.folder / FINISHED).touch()

    def load_checkpoint(self, engines: dict[str, Engine]) -> tuple[int, dict[str, Any]]:
        """Restores the engines. Returns the optimizer step to go on from (0 for a new run) and the stage's state."""
        if self.resume_from is None:
            return 0, {}
        folder, first = self.resume_from / STATE, next(iter(engines))
        facts = read_facts(folder)
        for name, engine in engines.items():
            has_masters = name == first and self.masters_in_model
            model = (self.resume_from, places(engine)) if has_masters else ()
            with Fragments(folder, name, *model) as found, engine.working(steps=True):
                restore(engine, facts["engines"][name], found.read)
        if facts["processes"] == dist.world_size():
            set_random_state(json.loads((folder / RANDOM.format(dist.rank())).read_text()))
        else:
            seed_anew(self.seed, facts["step"], dist.rank())
            if dist.is_main():
                print(
                    f"going on with {dist.world_size()} processes, and {facts['processes']} before: the same records "
                    "in each step, and other random numbers where a process draws them for itself, as in dropout",
                    flush=True,
                )
        return facts["step"], facts["stage"]


def require_masters(model: Path, trained: Iterable[str], in_model: Mapping[str, str]) -> None:
    """Raises RuntimeError where a model folder has not the weights that its run could go on from.

    Args:
        in_model: names of weights that have to be there, and what its files call them.
    """
    with Fragments(model / STATE, "", model, in_model) as found:
        if lost := found.lacks(MASTER, filter(in_model.__contains__, trained)):
            raise RuntimeError(f"{model}: was written without {', '.join(lost)}: nothing can go on from it")
