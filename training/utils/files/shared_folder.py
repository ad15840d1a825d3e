"""Whether a folder is the same one for all processes, on whatever nodes they run."""

import secrets
import socket
from pathlib import Path

from ..data.record import DataError
from ..process import dist
from ..process.patience import comes_true

SEEN_S = (
    30.0  # until others must see what one node has written: network file systems keep listings for a while
)
LOOK_S = 0.2


def require_shared(folder: Path) -> None:
    """Has the main process leave a file in the folder, and every other one look for it. All processes must call it.

    Raises:
        DataError: some don't see it. It is raised on all processes.
    """
    if dist.world_size() == 1:
        return
    left = dist.from_main(lambda: _left_in(folder))
    seen = dist.gather_objects((socket.gethostname(), _sees(folder, left.name)))
    if dist.is_main():
        left.unlink(missing_ok=True)
    blind = [f"process {rank} on node {node}" for rank, (node, is_seen) in enumerate(seen) if not is_seen]
    if blind:
        others = f" and {len(blind) - 1} more" if len(blind) > 1 else ""
        raise DataError(
            f"{left.parent}: {blind[0]}{others} can't see there what process 0 on node {seen[0][0]} has written; "
            "expected one folder for all nodes: put it on a file system that they share"
        )


def _left_in(folder: Path) -> Path:
    """A new file there, of a name that no process has asked for before."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder.absolute() / f".shared-{secrets.token_hex(8)}"
    file.touch()
    return file


def _sees(folder: Path, name: str) -> bool:
    def is_listed() -> bool:
        # Not asked for by name: a network file system remembers that a name was not there.
        return folder.is_dir() and any(file.name == name for file in folder.iterdir())

    return comes_true(is_listed, SEEN_S, LOOK_S)
