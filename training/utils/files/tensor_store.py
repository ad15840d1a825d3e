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
        if key in self._added:
            return dict(self._added[key])
        file = self.folder / self._file_of[key]
        try:
            opened, names, checksums = _opened(file)
            tensors = {name: opened.get_tensor(f"{key}/{name}") for name in names[key]}
            is_whole = _checksum(tensors) == checksums[key]
        except (SafetensorError, FileNotFoundError):
            is_whole = False
        if not is_whole:
            file.unlink(missing_ok=True)
            raise DamagedFile(
                f"{file}: is damaged, and was removed; start again, and its entries are made anew"
            )
        return tensors


@lru_cache(maxsize=64)
def _opened(file: Path) -> tuple[safe_open, dict[str, list[str]], dict[str, str]]:
    """A file, the names of the tensors of each entry, and the checksum of each."""
    opened = safe_open(file, "pt")
    names: dict[str, list[str]] = {}
    for full_name in opened.keys():  # noqa: SIM118  (it is no mapping)
        key, _, name = full_name.partition("/")
        names.setdefault(key, []).append(name)
    return opened, names, opened.metadata()


def _checksums(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return opened.metadata() or {}


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    value = 0
    for _, tensor in sorted(tensors.items()):
        value = zlib.crc32(tensor.contiguous().view(torch.uint8).numpy(), value)
    return f"{value:08x}"
