"""What a disk refuses: why, and which file it was. The system names what is opened, not what is written."""

import errno
import io
import os
import re
from pathlib import Path
from traceback import walk_tb

DISK = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk quota is used up; make room",
    errno.EROFS: "the file system is read-only; have it mounted to be written, or choose another folder",
    errno.EFBIG: "a file may not become that large here; see ulimit -f",
    errno.EIO: "the disk fails; see to it",
    errno.ESTALE: "the network disk has lost it; see to the mount",
    errno.EMFILE: "too many files are open; raise ulimit -n",
    errno.ENFILE: "too many files are open on this machine; see to that",
}


def number_of(error: BaseException) -> int | None:
    """Of the system's error, if it is one, also as Rust (of which safetensors is made) and torch word it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    found = map(int, re.findall(r"[\[(](?:os error |Errno )?(\d{1,3})[\])]", text))
    return next((number for number in found if os.strerror(number) in text), None)


def place_of(error: BaseException) -> str | None:
    """The file that the error names, or else what the innermost function that knows a file was at."""
    text = str(error)
    if "</torch_" in text:  # by which torch hands a tensor from process to process
        return "/dev/shm"
    if text.startswith("Caught "):  # in a data worker: what this process was at is another file
        return None
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if named is not None:
        return str(named)
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    found = (_file(value) for frame in reversed(frames) for value in frame.f_locals.values())
    return next((file for file in found if file), None)


def keep_place(error: BaseException) -> None:
    """Has an error of a disk name its file itself: on its way to another process it loses where it came from."""
    if number_of(error) in DISK:
        error.filename = place_of(error)


def _file(value: object) -> str | None:
    if isinstance(value, io.IOBase):
        value = getattr(value, "name", None)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and len(value) < 4096 and os.path.isabs(value):
        return value if os.path.exists(value) else None
    return None
