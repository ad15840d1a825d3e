"""What a command will write can be written: seen before its work, which may take days, begins."""

import dataclasses
import errno
import tempfile
from pathlib import Path
from typing import Any, Literal

from ..data.record import DataError
from ..process.ending import PATHS
from .disk import DISK


def outputs(config: Any) -> dict[str, tuple[Literal["file", "folder"], Path]]:
    """What a command writes, by flag; the one that is its work comes first."""
    given = {
        field.name: (field.metadata["writes"], getattr(config, field.name)) for field in _writing(config)
    }
    return {name: (kind, Path(path)) for name, (kind, path) in given.items() if path}


def require_writable(config: Any) -> None:
    """Makes the folders of a command's outputs, and tries to write there. Nothing stays but folders.

    Raises:
        DataError: an output can't be written.
    """
    for name, (kind, path) in outputs(config).items():
        try:
            (_try_file if kind == "file" else _try_folder)(path)
        except OSError as error:
            why = (DISK | PATHS).get(error.errno) or error.strerror
            raise DataError(f"--{name} {path}: {why}; choose another {kind} to write") from None


def _writing(config: Any) -> list[dataclasses.Field]:
    found = [field for field in dataclasses.fields(config) if field.metadata.get("writes")]
    return sorted(found, key=lambda field: not field.name.startswith("output"))


def _try_file(file: Path) -> None:
    if file.is_file():
        file.open("ab").close()
    elif file.is_dir():
        raise IsADirectoryError(errno.EISDIR, "")
    else:
        _try_folder(file.parent)


def _try_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
