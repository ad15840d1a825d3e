"""What ended a program, in one sentence, and its exit status; and how it ends."""

import errno
import os
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass

import torch
import torch.distributed as torch_dist
from tqdm import tqdm

from . import dist
from .data.record import DataError
from .engine import NonFiniteLoss
from .flags import ConfigError
from .lock import release
from .stop import STATUS, Stopped

MENDABLE = (DataError, ConfigError, NonFiniteLoss)  # their messages say what, where and the cure
DISK = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk quota is used up; make room",
    errno.EROFS: "the file system is read-only; choose another folder",
}
OUT_OF_MEMORY = (
    "lower the batch size or --max_seq_len, or use --gradient_checkpointing, a higher --zero_stage or --offload; "
    "`python -m scripts.plan_memory` tells what fits"
)


@dataclass(frozen=True)
class Ending:
    message: str
    status: (
        int  # of the program: 2 for what its user can mend, 85 for a stop that was asked for, 1 for the rest
    )
    details: str = ""  # a traceback, where nobody expected this
    is_echo: bool = False  # another process has gone, and this one noticed
    by_all: bool = False  # all processes come to it together
    word: str = "error"


def explain(error: BaseException) -> Ending:
    """What an exception means to the person who started the program."""
    text = _own_words(error)
    if isinstance(error, MENDABLE):
        return Ending(text, 2)
    if isinstance(error, Stopped):
        return Ending(text, STATUS, word="stopped", by_all=error.by_all)
    if isinstance(error, torch.OutOfMemoryError):
        return Ending(f"out of GPU memory ({text.split('. GPU')[0]}); {OUT_OF_MEMORY}", 1)
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text:
        return Ending(f"out of memory{f' ({text.splitlines()[0]})' if text else ''}; {OUT_OF_MEMORY}", 1)
    if isinstance(error, OSError) and error.errno in DISK:
        return Ending(f"{error.filename or 'a file'}: {DISK[error.errno]}, and start again", 1)
    if isinstance(error, RuntimeError) and text.startswith("DataLoader worker"):
        return Ending(f"{text.splitlines()[0]} Perhaps memory ran out: try fewer --num_workers", 1)
    details = "".join(traceback.format_exception(error))
    return Ending(f"{type(error).__name__}: {text}", 1, details, is_echo=_is_of_a_collective(error))


def _own_words(error: BaseException) -> str:
    """The message, without the traceback that a data loader puts around that of its worker's error."""
    text = str(error)
    if text.startswith("Caught "):
        return text.rpartition(f"{type(error).__name__}: ")[2].strip()
    return text


def _is_of_a_collective(error: BaseException) -> bool:
    names = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    return isinstance(error, torch_dist.DistError) or (
        isinstance(error, RuntimeError) and any(name in str(error) for name in names)
    )


def tell(ending: Ending, number: int | None = None) -> None:
    """Prints what ended the run, and on which process."""
    where = "" if number is None else f" on process {number} of {dist.world_size()}"
    with suppress(OSError):  # nobody may be there to read
        tqdm.write(f"{ending.details}{ending.word}{where}: {ending.message}", file=sys.stderr)


def leave(status: int) -> None:
    """Ends this process, whatever its main thread waits for."""
    release()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)
