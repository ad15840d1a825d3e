"""Tensors on disk by key, in safetensors files that many processes and runs may write side by side.

A file is written whole under a name of its own and then renamed, so none is ever seen half-written, and nobody writes
into another's. Each entry has a checksum, kept in the file's metadata.
"""

import logging
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..process.told import Told
from .file_age import age_s

FILE_SIZE = 256 << 20  # bytes of entries after which a file is written
ABANDONED_S = 24 * 3600.0  # age of a half-written file whose writer is taken for dead

logger = logging.getLogger(__name__)


class DamagedFile(Told):
    """An entry is not what was written. Its file was removed: what was in it can be made anew."""


class TensorStore:
    """Entries are named tensors. What is added is seen by others when it is flushed."""

    def __init__(self, folder: Path) -> None:
        """Files that can't be opened are removed, with a warning each."""
        self.folder = folder
        self._file_of: dict[str, str] = {}
        self._read: set[str] = set()
        self._added: dict[str, Mapping[str, Tensor]] = {}
        self._size = 0
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.part"):
            with suppress(FileNotFoundError):  # another process does the same
                if age_s(file, folder) > ABANDONED_S:
                    file.unlink()
        self.refresh()

    def __len__(self) -> int:
        return len(self._file_of)

    def __contains__(self, key: str) -> bool:
        return key in self._file_of or key in self._added

    @property
    def files(self) -> set[str]:
        """The names of the files that are known here."""
        return self._read

    def refresh(self) -> None:
        """Takes note of the files that have come since."""
        for file in sorted(self.folder.glob("*.safetensors")):
            if file.name in self._read:
                continue
            try:
                keys = _checksums(file)
            except FileNotFoundError:
                continue
            except SafetensorError as error:
                logger.warning("%s is damaged (%s) and was removed: its entries are made anew", file, error)
                file.unlink(missing_ok=True)
                continue
            self._file_of |= dict.fromkeys(keys, file.name)
            self._read.add(file.name)

    def add(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """
        Args:
            tensors: on the CPU.
        """
        self._added[key] = tensors
        self._size += sum(tensor.nbytes for tensor in tensors.values())
        if self._size >= FILE_SIZE:
            self.flush()

    def flush(self) -> None:
        """Writes what was added since the last file."""
        if not self._added:
            return
        file = self.folder / f"{uuid4().hex}.safetensors"
        part = file.with_suffix(".part")
        flat = {
            f"{key}/{name}": tensor.contiguous()
            for key, tensors in self._added.items()
            for name, tensor in tensors.items()
        }
        save_file(flat, part, {key: _checksum(tensors) for key, tensors in self._added.items()})
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.rename(file)
        self._added, self._size = {}, 0
        self.refresh()

    def get(self, key: str) -> dict[str, Tensor]:
        """
        Raises:
            KeyError: there is no such entry.
            DamagedFile: it is not what was written.
        """
        tensors = self.part(key)
        if key not in self._added and _checksum(tensors) != _opened(self._file(key)).checksums[key]:
            raise self._removed(self._file(key))
        return tensors

    def part(self, key: str, *names: str) -> dict[str, Tensor]:
        """Tensors of an entry by their names, without names all, and nothing is read of the others. That they are
        what was written is not looked at: a checksum is of a whole entry.

        Raises:
            KeyError: there is no such entry.
            DamagedFile: its file can't be read.
        """
        if key in self._added:
            return {name: self._added[key][name] for name in names or self._added[key]}
        file = self._file(key)
        try:
            opened = _opened(file)
            return {name: opened.file.get_tensor(f"{key}/{name}") for name in names or opened.names[key]}
        except (SafetensorError, FileNotFoundError):
            raise self._removed(file) from None

    def _file(self, key: str) -> Path:
        return self.folder / self._file_of[key]

    @staticmethod
    def _removed(file: Path) -> DamagedFile:
        file.unlink(missing_ok=True)
        return DamagedFile(f"{file}: is damaged, and was removed; start again, and its entries are made anew")


class _Opened(NamedTuple):
    file: safe_open
    names: dict[str, list[str]]  # of the tensors of each entry
    checksums: dict[str, str]  # of each entry


@lru_cache(maxsize=64)
def _opened(file: Path) -> _Opened:
    opened = safe_open(file, "pt")
    names: dict[str, list[str]] = {}
    for full_name in opened.keys():  # noqa: SIM118  (it is no mapping)
        key, _, name = full_name.partition("/")
        names.setdefault(key, []).append(name)
    return _Opened(opened, names, opened.metadata())


def _checksums(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata() or {}


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    value = 0
    for _, tensor in sorted(tensors.items()):
        value = zlib.crc32(tensor.contiguous().view(torch.uint8).numpy(), value)
    return f"{value:08x}"
