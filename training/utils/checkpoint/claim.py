"""How a start of a stage takes its output folder: as a new run, or going on with the run that is there.

A run is gone on with only if this start is of the same run (identity.py). Another one is refused by name.
"""

from math import gcd
from pathlib import Path
from typing import Any

from ..config.train_config import TrainConfig
from ..data.record import DataError
from ..engine.schedule import same_until
from ..files.lock import NAME as LOCK
from ..process import dist
from ..run.identity import BATCH, Identity
from ..run.run_record import RECORD_FILE, RunRecord
from ..run.set_aside import NAME as SET_ASIDE
from ..run.set_aside import set_aside
from .manifest import damage
from .publish import LATEST
from .state_files import read_facts
from .states import STATE, is_checkpoint, newest_whole, step_of, tidy

FINISHED = "finished"
# By a restart: what the run script writes into, what a run starts from, and whose the folder is.
KEPT = ("training.log", "assembled", LOCK)
CURE = "choose another --output_dir, or set that run aside with --restart"


class AlreadyFinished(Exception):
    """The run that `--resume` should go on with has reached its end."""


def claim(folder: Path, config: TrainConfig, identity: Identity, num_steps: int, **facts: Any) -> Path | None:
    """Takes the output folder `folder`, and adds this start to its record. The main process calls it.

    Args:
        facts: what else the record of the start is to say.

    Returns:
        The checkpoint to go on from; none for a new run.

    Raises:
        DataError: the folder holds another run, or `--resume` does not say to go on with it.
        AlreadyFinished: it says so, and that run has reached its end.
    """
    if config.restart:
        restart(folder)
    state = find_state(folder, config.resume)
    if state:
        read_facts(state / STATE)  # it must be of this version
    finished = config.resume == "auto" and (folder / FINISHED).is_file()
    holds_run = (folder / LATEST).is_file()
    if state or finished:
        if holds_run and state and state.resolve().parent != folder.resolve():
            raise DataError(f"--output_dir {folder}: holds another run than --resume {state}; {CURE}")
        record = same_run(state.parent if state else folder, identity, config)
        before = record.starts[-1]["num_steps"]
        if finished and num_steps == before:
            raise AlreadyFinished(f"{folder}: finished before; nothing to do")
        if num_steps != before:
            require_same_steps(state, config, before, num_steps)
    elif holds_run:
        raise DataError(
            f"--output_dir {folder}: holds another run; choose another folder, set that run aside with --restart, or "
            "go on with --resume auto from a whole checkpoint"
        )
    else:
        record = RunRecord.of(config, identity)
    tidy(folder)  # first: what was left half written may be what fills the disk
    record.start(config, num_steps=num_steps, resumed_from=str(state) if state else None, **facts)
    record.write(folder / RECORD_FILE)
    (folder / FINISHED).unlink(missing_ok=True)
    return state


def find_state(folder: Path, resume: str) -> Path | None:
    """The checkpoint that `--resume` means.

    Raises:
        DataError: it names one that is none, or that is damaged.
    """
    if resume == "never":
        return None
    if resume == "auto":
        return newest_whole(folder)
    if not is_checkpoint(Path(resume)):
        raise DataError(f"--resume {resume}: no checkpoint; expected never, auto or a folder checkpoint-STEP")
    if found := damage(Path(resume)):
        raise DataError(f"--resume {resume}: {found}; use another checkpoint, or --resume auto")
    return Path(resume)


def same_run(folder: Path, identity: Identity, config: TrainConfig) -> RunRecord:
    """The record of the run in a folder.

    Raises:
        DataError: it is another than the one that is asked for.
    """
    file = folder / RECORD_FILE
    record = RunRecord.read(file)
    if record is None:
        raise DataError(f"{file}: does not say what the run there is, so it can't be gone on with; {CURE}")
    if differences := identity.differences(record.identity):
        before, now = (one.settings.get(BATCH) for one in (record.identity, identity))
        if before and now and before != now:
            differences.append(fitting_batch(before, config))
        listed = "\n  ".join(differences)
        raise DataError(f"{folder}: its run was begun with\n  {listed}\n{CURE}")
    return record


def fitting_batch(before: int, config: TrainConfig) -> str:
    """How these processes can share the global batch that a run was begun with."""
    each, rest = divmod(before, dist.world_size())
    if rest:
        return f"(a batch of {before} needs a number of processes that divides it; these are {dist.world_size()})"
    per_device = gcd(each, config.per_device_train_batch_size)
    return (
        f"(with the {dist.world_size()} processes of this start, --per_device_train_batch_size {per_device} "
        f"--gradient_accumulation_steps {each // per_device} keep the batch)"
    )


def require_same_steps(state: Path | None, config: TrainConfig, before: int, now: int) -> None:
    """Another number of steps continues a run if the steps so far would have been the same with it.

    Raises:
        DataError: they would not, or there is nothing to go on from.
    """
    found = f"the run in --output_dir was begun with {before} steps, and this start asks for {now}"
    if state is None:
        raise DataError(f"{found}, but no checkpoint is left to go on from; {CURE}")
    step = step_of(state)
    if now <= step:
        raise DataError(f"{found}, but {state} is past them; ask for more steps, or {CURE}")
    if config.critic_only_steps(before) != config.critic_only_steps(now):
        raise DataError(
            f"{found}, of which --skip_actor_model {config.skip_actor_model} is a share: the critic would have "
            f"learned alone for another number of them; {CURE}"
        )
    if not same_until(step, config, before, now):
        raise DataError(
            f"{found}, with which its first {step} steps would have had other learning rates (--lr_scheduler_type "
            f"{config.lr_scheduler_type}, --num_warmup_steps {config.num_warmup_steps}). Keep their number; or train "
            "on from its model, --from_checkpoint, in another --output_dir; a constant schedule can be made "
            "longer"
        )


def restart(folder: Path) -> None:
    """Sets aside all that a run left in its output folder, its record last: till then what is left is known."""

    def order(file: Path) -> tuple[bool, bool, str]:
        return file.name == RECORD_FILE, file.name not in (FINISHED, LATEST), file.name

    left = [
        file
        for file in folder.glob("*")
        if file.name not in KEPT and file.suffix != ".sh" and not file.name.startswith(SET_ASIDE)
    ]
    if left:
        place = set_aside(sorted(left, key=order), folder)
        print(f"--restart: the run in {folder} was set aside in {place}", flush=True)
