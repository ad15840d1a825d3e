"""Reading the files of a benchmark."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.utils.data import json_text
from training.utils.data.entries import read_entries
from training.utils.data.record import DataError

STRAY = ("readme", "license", "licence", "dataset_info")


def read_json(path: Path) -> Any:
    """A JSON file, with or without a byte order mark.

    Raises:
        DataError: it is not there, or does not parse.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; eval/README.md says which files the benchmark needs")
    return json_text.read_json(path)


def entries(
    paths: Sequence[Path], suffixes: Sequence[str] = (".json", ".jsonl")
) -> Iterator[tuple[Path, int, dict]]:
    """File, index and content of each entry: of the files, and of the JSON and JSON Lines files of the folders."""
    for file in files(paths, suffixes):
        for index, entry in enumerate(read_entries(file)):
            if not isinstance(entry, dict):
                raise DataError(f"{file}[{index}]: found {type(entry).__name__}, expected a JSON object")
            yield file, index, entry


def is_stray(file: Path) -> bool:
    """Whether a file in a folder of official files is none by its name: of the system, or about the others."""
    return file.name.startswith(".") or file.name.split(".")[0].lower() in STRAY


def inside(folder: Path, suffixes: Sequence[str] = (".json", ".jsonl")) -> list[Path]:
    """The files of these kinds that lie in a folder, by name, without stray ones."""
    found = sorted(file for file in folder.iterdir() if file.suffix in suffixes and file.is_file())
    return [file for file in found if not is_stray(file)]


def unpacked(folder: Path) -> Path:
    """The folder itself, or the one folder that is all it holds: what an archive or `git clone` leaves in it."""
    held = [entry for entry in folder.iterdir() if not is_stray(entry)] if folder.is_dir() else []
    return held[0] if len(held) == 1 and held[0].is_dir() else folder


def find_root(path: Path, names: Sequence[str], below: Sequence[str]) -> Path:
    """The folder that holds these files: the path itself, or one of those below it where repositories have them.

    Args:
        names: of the files; may be patterns.
    """
    folders = [top / name for top in dict.fromkeys((path, unpacked(path))) for name in ("", *below)]
    holds = (f for f in folders if all(any(not is_stray(x) for x in f.glob(name)) for name in names))
    return next(holds, path)


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
        here = inside(path, suffixes) or inside(unpacked(path), suffixes) if path.is_dir() else [path]
        if not here:
            raise DataError(
                f"{path}: holds no {' or '.join(suffixes)} file; eval/README.md says what it needs"
            )
        found += here
    return found


def field(entry: dict, name: str, where: str) -> Any:
    """A field that must be there."""
    if name not in entry:
        raise DataError(f"{where}: lacks `{name}`; found {', '.join(sorted(entry)) or 'no field at all'}")
    return entry[name]
