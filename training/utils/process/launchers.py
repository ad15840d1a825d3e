"""The programs that start the processes of a run."""

from contextlib import suppress

import psutil

LAUNCHERS = ("deepspeed", "torchrun", "torch.distributed")


def launchers() -> list[psutil.Process]:
    """The programs that started this process to be one of several, and should outlive it."""
    found = []
    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            if any(name in part for part in process.cmdline() for name in LAUNCHERS):
                found.append(process)
    return found


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
