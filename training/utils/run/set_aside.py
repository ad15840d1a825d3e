"""Files that another run left are set aside, never deleted: renamed into a folder beside them."""

from collections.abc import Iterable
from pathlib import Path

NAME = "set-aside"


def set_aside(files: Iterable[Path], folder: Path) -> Path:
    """Moves files or folders into a new folder `set-aside-N` of `folder`, in their order. Returns it."""
    number = 1
    while (place := folder / f"{NAME}-{number}").exists():
        number += 1
    place.mkdir(parents=True)
    for file in files:
        file.rename(place / file.name)
    return place
