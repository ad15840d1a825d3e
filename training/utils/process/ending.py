"""What ended a program, in one sentence, and its exit status."""

import errno
import signal
import sys
import traceback
from dataclasses import dataclass

from ..config.flags import ConfigError
from ..data.record import DataError
from ..files.disk import DISK, number_of, place_of
from .stop import STATUS, Stopped
from .told import Told

PATHS = {
    errno.ENOENT: "there is no such file or folder",
    errno.EISDIR: "is a folder, and a file was expected",
    errno.ENOTDIR: "goes through a file as if it were a folder",
    errno.EEXIST: "is there already, as a file",
    errno.EACCES: "this user may not do that there",
    errno.EPERM: "this user may not do that there",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "its links lead back to themselves",
}
NO_MEMORY = ("DefaultCPUAllocator", "std::bad_alloc", "can't start new thread")  # as torch and Python word it
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
    no_memory: bool = False  # of the machine, not of its GPUs


def explain(error: BaseException) -> Ending:
    """What an exception means to the person who started the program."""
    text = _own_words(error)
    if isinstance(error, DataError | ConfigError):
        return Ending(text, 2)  # it says what, where and the cure
    if isinstance(error, Told):
        return Ending(text, error.status)
    if isinstance(error, Stopped):
        return Ending(text, STATUS, word="stopped", by_all=error.by_all)
    if isinstance(error, KeyboardInterrupt):
        return Ending("stopped by Ctrl-C", 128 + signal.SIGINT)
    number = number_of(error)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(word in text for word in NO_MEMORY):
        said = text.rpartition("DefaultCPUAllocator: ")[2].splitlines()  # torch says where in its code first
        message = f"out of memory{f' ({said[0]})' if said else ''}; {OUT_OF_MEMORY}"
        return Ending(message, 1, no_memory=True)
    if number in DISK:
        return Ending(f"{place_of(error) or 'a file'}: {DISK[number]}, and start again", 1)
    if isinstance(error, OSError) and error.errno in PATHS and error.filename:
        return Ending(f"{error.filename}: {PATHS[error.errno]}", 2)
    if isinstance(error, RuntimeError) and text.startswith("DataLoader worker"):
        return Ending(f"{text.splitlines()[0]} Perhaps memory ran out: try fewer --num_workers", 1)
    return _of_training(error, text)


def _of_training(error: BaseException, text: str) -> Ending:
    """What only training meets, and what nobody expected."""
    if isinstance(error, _loaded("torch", "OutOfMemoryError")):
        return Ending(f"out of GPU memory ({text.split('. GPU')[0]}); {OUT_OF_MEMORY}", 1)
    names = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    is_echo = isinstance(error, _loaded("torch.distributed", "DistError")) or (
        isinstance(error, RuntimeError) and any(name in str(error) for name in names)
    )
    details = "".join(traceback.format_exception(error))
    return Ending(f"{type(error).__name__}: {text}", 1, details, is_echo)


def _loaded(module: str, name: str) -> type | tuple[()]:
    """An exception's class; no class where nothing has loaded its module, and so nothing can have raised it.

    An import here would take seconds, and where it fails it would hide what happened.
    """
    return getattr(sys.modules.get(module), name, ())


def _own_words(error: BaseException) -> str:
    """The message, without the traceback that a data loader puts around that of its worker's error."""
    text = str(error)
    if text.startswith("Caught "):
        return text.rpartition(f"{type(error).__name__}: ")[2].strip()
    return text
