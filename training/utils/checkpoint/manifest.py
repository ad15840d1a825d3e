"""The files of a folder with their sizes and checksums: a list that is written last, and proves that all is whole."""

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..data.record import DataError
from ..process import dist
from ..process.patience import comes_true

Entries = dict[str, list]  # by the name of a file: its size in bytes and its SHA-256
MANIFEST = "manifest.json"
REPORT = ".process-{}.json"
REPORT_S = 3600.0  # that the main process waits for the reports of all others
POLL_S = 0.05


def write_manifest(folder: Path, known: Entries | None = None) -> Entries:
    """Writes the manifest of a folder into which nothing more is written, and returns its entries.

    Args:
        known: entries of files that need not be read again.
    """
    names = _files(folder)
    found = {name: entry for name, entry in (known or {}).items() if name in names}
    found |= _entries(folder, [name for name in names if name not in found])
    (folder / MANIFEST).write_text(json.dumps({name: found[name] for name in names}, indent=1) + "\n")
    return found


def report(folder: Path, names: list[str]) -> None:
    """Tells the main process that this one has written all its files into a folder. It tells by a file: nobody has to
    wait where processes train. They are on the disk then: the main process can't see to that for another node."""
    for name in names:
        sync(folder / name)
    file = folder / REPORT.format(dist.rank())
    hidden = file.with_suffix(".writing")
    hidden.write_text(json.dumps(_entries(folder, names)))
    hidden.rename(file)


def collect_reports(folder: Path) -> Entries:
    """Waits until all other processes have told what they wrote into a folder, and returns the entries.

    Raises:
        DataError: one of them does not tell.
    """
    found: Entries = {}
    until = time.monotonic() + REPORT_S
    for rank in set(range(dist.world_size())) - {dist.rank()}:
        file = folder / REPORT.format(rank)
        if not comes_true(file.is_file, until - time.monotonic(), POLL_S):
            raise DataError(
                f"{folder}: process {rank} of {dist.world_size()} has not written its part for "
                f"{REPORT_S / 60:g} minutes; --output_dir must be on a disk that all processes share"
            )
        found |= json.loads(file.read_text())
        file.unlink()
    while unseen := found.keys() - _files(folder):  # network disks may list a folder as it was some time ago
        if time.monotonic() > until:
            raise DataError(f"{folder}: {min(unseen)} was written by another process, and is not there")
        time.sleep(POLL_S)
    return found


def damage(folder: Path) -> str:
    """What is wrong with a folder, in a few words; nothing if it is as it was written."""
    try:
        manifest = {name: [*entry] for name, entry in json.loads((folder / MANIFEST).read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return f"holds no {MANIFEST} that can be read: it is not whole, or of an earlier version"
    for name, (size, _) in manifest.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if (length := (folder / name).stat().st_size) != size:
            return f"{name} has {length:,} bytes, and was written with {size:,}"
    try:
        found = _entries(folder, list(manifest))
    except OSError as error:  # a worn disk says so when a file is read
        return f"{Path(error.filename).relative_to(folder)} can not be read: {error.strerror}"
    for name, entry in found.items():
        if entry != manifest[name]:
            return f"{name} holds other bytes than were written"
    return ""


def sync(path: Path) -> None:
    """Returns when a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path) -> list[str]:
    found = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in found if name != MANIFEST)


def _entries(folder: Path, names: list[str]) -> Entries:
    """Size in bytes and SHA-256 of each file."""

    def entry(name: str) -> list:
        with (folder / name).open("rb") as opened:
            try:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            except OSError as error:  # who reads is not told which file it was
                raise OSError(error.errno, error.strerror, str(folder / name)) from error
        return [(folder / name).stat().st_size, digest]

    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(entry, names), strict=True))
