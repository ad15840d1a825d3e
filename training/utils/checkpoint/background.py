"""One piece of work off the training thread: a save that is being written while the next steps are made."""

import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from ..process import dist

CGROUPS = Path("/sys/fs/cgroup")


class Background:
    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Runs `work` on a thread of its own, when what was started before is done.

        Raises:
            Exception: what that has raised.
        """
        self.wait()

        device = dist.device()  # a thread begins on the first one

        def run() -> None:
            try:
                if device.type == "cuda":
                    torch.cuda.set_device(device)
                work()
            except BaseException as error:  # for the training thread, when it waits
                self._error = error

        # A daemon: the end of the program waits for it where it should (`settle`), and where it hangs it does not.
        self._thread = threading.Thread(target=run, name="save", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Returns when what was started is done.

        Raises:
            Exception: what it has raised, once.
        """
        self.settle()
        self.check()

    def check(self) -> None:
        """Goes on while what was started is being done.

        Raises:
            Exception: what it has raised, once.
        """
        error, self._error = self._error, None
        if error is not None:
            raise error

    def settle(self, timeout_s: float | None = None) -> None:
        """The same where the program ends for another reason: whatever becomes of the work."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)


saving = Background()


def free_memory() -> float:
    """Bytes of CPU memory that this process may take: its share of what its node, its job or container have left."""
    free = psutil.virtual_memory().available
    group = CGROUPS / _cgroup()
    for level in (group, *group.parents):
        if (level / "memory.max").is_file() and (
            limit := (level / "memory.max").read_text().strip()
        ) != "max":
            pages = dict(line.split() for line in (level / "memory.stat").read_text().splitlines())
            held = int((level / "memory.current").read_text()) - int(
                pages["inactive_file"]
            )  # which it would give
            free = min(free, int(limit) - held)
    return free / dist.processes_of_node()


def _cgroup() -> str:
    """Of this process (version 2), below the root."""
    file = Path("/proc/self/cgroup")
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((line[3:].lstrip("/") for line in lines if line.startswith("0::")), "")
