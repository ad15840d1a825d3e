"""The checkpoints of an output folder: `checkpoint-STEP`, each a model with the state to resume from in it."""

import re
import shutil
from pathlib import Path

from ..files.model_folder import STATE
from .manifest import damage

NAME = re.compile(r"checkpoint-(\d+)")


def step_of(checkpoint: Path) -> int:
    """The optimizer step that a checkpoint was written after."""
    return int(NAME.fullmatch(checkpoint.name).group(1))


def is_checkpoint(folder: Path) -> bool:
    return NAME.fullmatch(folder.name) is not None and (folder / STATE).is_dir()


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of an output folder, the oldest first."""
    return sorted(filter(is_checkpoint, folder.glob("checkpoint-*")), key=step_of)


def surplus(folder: Path, step: int, limit: int) -> list[Path]:
    """The checkpoints to be removed where that of `step` has just been written, and `limit` are kept (0: all).

    Those of later steps neither count nor go: a run that comes here again passed over them, damaged as they are.
    """
    written = [checkpoint for checkpoint in checkpoints(folder) if step_of(checkpoint) <= step]
    return written[:-limit] if limit else []


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint of an output folder that is as it was written; what is passed over is named."""
    foreign = {
        place: "is no checkpoint of a run"
        for place in folder.glob("checkpoint-*")
        if not is_checkpoint(place)
    }
    for place, why in sorted(foreign.items()):
        print(f"{place}: {why}; passed over", flush=True)
    for checkpoint in reversed(checkpoints(folder)):
        if not (found := damage(checkpoint)):
            return checkpoint
        print(f"{checkpoint}: {found}; passed over", flush=True)
    return None


def remove(folder: Path) -> None:
    """Removes a folder, renamed first: what is half removed does not look like a checkpoint."""
    doomed = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def tidy(folder: Path) -> None:
    """Removes what a run that was killed was just writing or removing."""
    for left in (place for ending in ("partial", "old", "removed") for place in folder.glob(f".*.{ending}")):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
