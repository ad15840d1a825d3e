"""Reading the files of a benchmark."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.utils.data.entries import read_entries
from training.utils.data.record import DataError


def read_json(path: Path) -> Any:
    """A JSON file, with or without a byte order mark.

    Raises:
        DataError: it is not there, or does not parse.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; eval/README.md says which files the benchmark needs")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: does not parse as JSON at line {error.lineno}: {error.msg}") from None


def entries(paths: Sequence[Path]) -> Iterator[tuple[Path, int, dict]]:
    """File, index and content of each entry: of the files, and of the JSON and JSON Lines files of the folders."""
    for file in files(paths):
        for index, entry in enumerate(read_entries(file)):
            if not isinstance(entry, dict):
                raise DataError(f"{file}[{index}]: found {type(entry).__name__}, expected a JSON object")
            yield file, index, entry


def files(paths: Sequence[Path], suffixes: Sequence[str] = (".json", ".jsonl")) -> list[Path]:
    """The files themselves, and those of folders by name.

    Raises:
        DataError: a path leads to nothing, or a folder holds no such file.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise DataError(
                f"{path}: no such file; expected official files of the benchmark (eval/README.md)"
            )
        inside = sorted(f for f in path.iterdir() if f.suffix in suffixes) if path.is_dir() else [path]
        if not inside:
            raise DataError(
                f"{path}: holds no {' or '.join(suffixes)} file; eval/README.md says what it needs"
            )
        found += inside
    return found


def field(entry: dict, name: str, where: str) -> Any:
    """A field that must be there."""
    if name not in entry:
        raise DataError(f"{where}: lacks `{name}`; found {', '.join(sorted(entry)) or 'no field at all'}")
    return entry[name]
