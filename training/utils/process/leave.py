"""How a process of a stage ends: it says why, and goes, whatever its threads wait for."""

import os
import sys
from contextlib import suppress

from tqdm import tqdm

from ..checkpoint.background import saving
from ..files.lock import release
from . import dist
from .ending import Ending

SAVE_S = 15.0


def tell(ending: Ending, number: int | None = None) -> None:
    """Prints what ended the run, and on which process."""
    where = "" if number is None else f" on process {number} of {dist.world_size()}"
    with suppress(OSError):  # nobody may be there to read
        tqdm.write(f"{ending.details}{ending.word}{where}: {ending.message}", file=sys.stderr)


def leave(status: int) -> None:
    """Ends this process, whatever its main thread waits for. What is being saved has some seconds left."""
    saving.settle(SAVE_S)
    release()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)
