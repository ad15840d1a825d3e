"""The checkpoints of an output folder: `checkpoint-STEP`, each a model with the state to resume from in it."""

import re
from pathlib import Path

STATE = "state"
NAME = re.compile(r"checkpoint-(\d+)")


def step_of(checkpoint: Path) -> int:
    """The optimizer step that a checkpoint was written after."""
    return int(NAME.fullmatch(checkpoint.name).group(1))


def is_checkpoint(folder: Path) -> bool:
    return NAME.fullmatch(folder.name) is not None and (folder / STATE).is_dir()


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of an output folder, the oldest first."""
    return sorted(filter(is_checkpoint, folder.glob("checkpoint-*")), key=step_of)
