"""What strikes a run from within, at the moment that it opens a certain file to write: a disk that takes no more,
memory that runs out, a clock that is set back, a worker that is killed, pictures that vanish."""

import builtins
import errno
import fnmatch
import io
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import safetensors.torch
import torch
from safetensors import SafetensorError

DAY_S = 24 * 3600.0
MARGIN_BYTES = 64 << 20  # that a process may still get when memory runs out


@dataclass(frozen=True)
class Strike:
    """Install it in a process before its command runs."""

    act: Callable[[Path], None]  # takes the file
    where: str  # pattern of its path, such as */log.jsonl
    skipped: int = 0  # openings before
    rank: int = 0

    def install(self) -> None:
        """From now on opening a file to write looks whether it is the one."""
        if int(os.environ.get("RANK", "0")) != self.rank:
            return
        seen = 0
        opened, saved = io.open, safetensors.torch.serialize_file

        def is_it(file: object) -> bool:
            nonlocal seen
            if not isinstance(file, str | Path) or not fnmatch.fnmatch(str(file), self.where):
                return False
            seen += 1
            return seen == self.skipped + 1

        def open_file(file, mode="r", *args, **more):
            if not set(mode) & set("wax+") or not is_it(file):
                return opened(file, mode, *args, **more)
            self.act(Path(file))
            if not isinstance(self.act, Refusal):
                return opened(file, mode, *args, **more)
            buffered = io.BufferedWriter(_FullFile(file, mode.strip("bt"), self.act.number))
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding="utf-8")

        def serialize_file(tensors, filename, *args, **more):
            if is_it(filename):
                self.act(Path(filename))
                if isinstance(self.act, Refusal):
                    Path(filename).write_bytes(b"half")
                    raise SafetensorError(_as_rust(self.act.number))
            return saved(tensors, filename, *args, **more)

        io.open = builtins.open = open_file
        safetensors.torch.serialize_file = serialize_file


@dataclass(frozen=True)
class Refusal:
    """The file is opened, takes half of what is written, and then no more: with the words of the system."""

    number: int  # of the error

    def __call__(self, file: Path) -> None:
        pass


class _FullFile(io.FileIO):
    def __init__(self, file: str | Path, mode: str, number: int) -> None:
        super().__init__(file, mode)
        self.number, self.took = number, False

    def write(self, content) -> int:
        if self.took:
            raise OSError(self.number, os.strerror(self.number))  # without a name, as the system's
        self.took = True
        return super().write(bytes(content)[: len(content) // 2 or 1])


def _as_rust(number: int) -> str:
    """An error of the system as safetensors words it."""
    return f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})"


def turn_read_only(file: Path) -> None:
    """The file system of an output folder: nothing can be opened to write, made or renamed any more."""

    def refuse(path: object, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    opened = io.open

    def open_file(path, mode="r", *args, **more):
        return refuse(path) if set(mode) & set("wax+") else opened(path, mode, *args, **more)

    def serialize_file(*_: object, **__: object) -> None:
        raise SafetensorError(_as_rust(errno.EROFS))

    io.open = builtins.open = open_file
    safetensors.torch.serialize_file = serialize_file
    os.mkdir = os.rename = os.replace = refuse
    refuse(file)


def run_out_of_memory(file: Path) -> None:
    """Memory ends, and then a tensor asks for more."""
    held = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (held + MARGIN_BYTES,) * 2)
    torch.ones(MARGIN_BYTES)


def set_clock_back(file: Path) -> None:
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - DAY_S
    time.time_ns = lambda: now_ns() - int(DAY_S * 1e9)


def kill_workers(file: Path) -> None:
    for child in psutil.Process().children():
        child.send_signal(signal.SIGKILL)


@dataclass(frozen=True)
class Vanish:
    """A folder is taken away; `cure` brings it back."""

    folder: Path

    @property
    def elsewhere(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-away")

    def __call__(self, file: Path) -> None:
        self.folder.rename(self.elsewhere)

    def cure(self) -> None:
        self.elsewhere.rename(self.folder)


@dataclass(frozen=True)
class FileLimit:
    """No file may become larger, from the start; the system itself refuses, in whatever writes."""

    size: int

    def install(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


Fault = Strike | FileLimit


def refused(number: int, where: str, skipped: int = 0, rank: int = 0) -> Strike:
    return Strike(Refusal(number), where, skipped, rank)
