"""Folders that are written beside and get their names when they are whole."""

import os
import shutil
from pathlib import Path

from ..data.record import DataError
from ..process import dist
from ..process.patience import comes_true
from .manifest import Entries, sync, write_manifest
from .states import remove

LATEST = "latest"
SEEN_S = 60.0  # until a new folder is seen on all nodes
LOOK_S = 0.1


def begin(folder: Path, names: list[str]) -> dict[str, Path]:
    """Empty folders in `folder` to write into, by the names that they will get. All processes must call it.

    Raises:
        DataError: this process does not see what the main one makes there.
    """
    partials = {name: folder / f".{name}.partial" for name in names}
    if dist.is_main():
        for partial in partials.values():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
    dist.barrier()
    if not comes_true(lambda: all(partial.is_dir() for partial in partials.values()), SEEN_S, LOOK_S):
        raise DataError(
            f"--output_dir {folder}: process {dist.rank()} does not see what the main process writes there; "
            "expected a disk that all processes share"
        )
    return partials


def link(source: Path, target: Path) -> None:
    """Gives a folder the files of another one as its own. Weights are not written again where the disk can do that;
    the small files beside them are: a person may edit a model's, and a checkpoint has to stay what it was."""

    def link_or_copy(one: str, other: str) -> None:
        try:
            if one.endswith(".safetensors"):
                return os.link(one, other)
        except OSError:  # a disk that has no links, or that holds as many as it can
            pass
        shutil.copy2(one, other)

    shutil.copytree(source, target, copy_function=link_or_copy, dirs_exist_ok=True)


def publish(folder: Path, partials: dict[str, Path], known: Entries) -> None:
    """Gives whole folders their manifests and names, one after the other, and lets `latest` name the first one.

    Args:
        known: manifest entries of files that other processes wrote.
    """
    for partial in partials.values():
        known = known | write_manifest(partial, known)
        for place in partial.rglob("*"):
            sync(place)
        sync(partial)
    for name, partial in partials.items():
        final = folder / name
        if final.exists():  # from before a crash: this run has come here again
            remove(final)
        partial.rename(final)
        sync(folder)
    pointer = folder / f".{LATEST}"
    pointer.write_text(f"{next(iter(partials))}\n")
    sync(pointer)
    pointer.replace(folder / LATEST)
