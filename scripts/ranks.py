"""The processes of a run as forks of this one, which has imported what they need."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from training.utils.process import dist


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """What a launcher tells a process."""
    number, count = str(rank), str(processes)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count} | meeting


def add_output_to(file: Path) -> None:
    """Has what this process prints added to a file."""
    for stream in (1, 2):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)


def on_ranks(processes: int, work: Callable[[], None], log: Path | None = None) -> bool:
    """Does some work on so many processes together; whether all of them came to its end.

    Args:
        log: file that what they print is added to; none: they print where this one does.
    """
    port, children = free_port(), []
    for rank in range(processes):
        if child := os.fork():
            children.append(child)
            continue
        status = 1
        try:
            os.environ |= environment(rank, processes, port)
            if log:
                add_output_to(log)
            dist.init_distributed(seed=0)
            work()
            dist.barrier()
            status = 0
        finally:
            if status:
                sys.excepthook(*sys.exc_info())
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return not any([os.waitpid(child, 0)[1] for child in children])
