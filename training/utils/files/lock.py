"""One program at a time writes a run's output: a file beside it names its owner.

The file system's own lock (flock) ends with the process that holds it. Where a file system has none, or keeps it to
one machine, the owner's process decides if it was on this machine, and else the age of the file, which its owner
touches.
"""

import atexit
import errno
import fcntl
import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import psutil

from ..data.record import DataError
from ..process.patience import comes_true
from .file_age import age_s

NAME = ".lock"
TOUCH_S = 20.0
STALE_S = 120.0  # after which an owner on another machine counts as gone
LINGER_S = 10.0  # that workers of a killed process may take to follow it, and hold its lock meanwhile
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Owner:
    host: str
    boot: str  # which machine, and since which start of it
    pid: int
    started: float  # the process, seconds since the machine was: process numbers are used again
    since: str

    @classmethod
    def this(cls) -> Self:
        process = psutil.Process()
        since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        return cls(socket.gethostname(), _boot(), process.pid, _started(process), since)

    @classmethod
    def read(cls, opened: int) -> Self | None:
        with suppress(ValueError, TypeError):
            return cls(**json.loads(os.pread(opened, 4096, 0)))
        return None  # nobody, or it was killed while it wrote

    @property
    def is_here(self) -> bool:
        return self.boot == _boot()

    @property
    def is_alive(self) -> bool:
        """Of one on this machine."""
        with suppress(psutil.NoSuchProcess):
            return abs(_started(psutil.Process(self.pid)) - self.started) < 5
        return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


_held: dict[Path, int] = {}  # files and their descriptors


def hold(file: Path) -> None:
    """Takes the lock `file` until this process ends. One that a dead process left is taken over.

    Raises:
        DataError: another process has it.
    """
    file = file.resolve()
    if file in _held:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + LINGER_S
    while (opened := _take(file)) is None:
        if time.monotonic() > until:
            raise DataError(
                f"{file.parent}: its lock {file.name} is held by a process that can't be seen from here"
            )
        time.sleep(0.2)
    os.ftruncate(opened, 0)
    os.pwrite(opened, json.dumps(asdict(Owner.this())).encode(), 0)
    if not _held:
        atexit.register(release)
        threading.Thread(target=_touch, name="lock", daemon=True).start()
    _held[file] = opened


def release() -> None:
    """Gives back what this process holds."""
    while _held:
        file, opened = _held.popitem()
        with suppress(OSError):
            file.unlink()
        os.close(opened)


def _take(file: Path) -> int | None:
    """The file, open, where nobody else owns it; nothing if it is to be tried again.

    Raises:
        DataError: another process has it.
    """
    opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        is_locked = _flock(opened)
        owner = Owner.read(opened)
        if owner:
            _require_gone(owner, file, opened)
        if is_locked and _is_at(opened, file):  # else its workers linger, or it was given back just now
            if owner:
                print(f"{file.parent}: the lock of {owner}, which is gone, was taken over", flush=True)
            return opened
    except DataError:
        os.close(opened)
        raise
    os.close(opened)
    return None


def _flock(opened: int) -> bool:
    """False if another process has it. True too where the file system has no such lock."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _require_gone(owner: Owner, file: Path, opened: int) -> None:
    """
    Raises:
        DataError: it is alive, or may be.
    """
    if owner.is_alive if owner.is_here else _is_touched(opened, file.parent):
        cure = "wait for it, end it, or choose another output"
        if not owner.is_here:
            cure += f"; if it is gone, start again in {STALE_S:.0f} s"
        raise DataError(f"{file.parent}: is in use by {owner}; {cure}")


def _is_touched(opened: int, folder: Path) -> bool:
    """Whether the owner of a lock, on another machine, still touches it."""
    if (since_s := age_s(opened, folder)) > -STALE_S:
        return since_s < STALE_S
    # It was touched in the future: the clock was set back since, and its age will say nothing for as long.
    before = os.fstat(opened).st_mtime
    return comes_true(lambda: os.fstat(opened).st_mtime != before, 2 * TOUCH_S, TOUCH_S / 20)


def _is_at(opened: int, file: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(opened), file.stat())
    return False


def _touch() -> None:
    while _held:
        for opened in list(_held.values()):
            with suppress(OSError):
                os.utime(opened)
        time.sleep(TOUCH_S)


def _started(process: psutil.Process) -> float:
    """Seconds since the start of the machine. Both times move when its clock is set, not their difference."""
    since = psutil.boot_time()
    return process.create_time() - since


def _boot() -> str:
    return BOOT_ID.read_text().strip() if BOOT_ID.is_file() else socket.gethostname()
