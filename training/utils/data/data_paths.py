"""Which files a path of data means."""

import re
from pathlib import Path

from .record import DataError

DATASETS = (".parquet", ".arrow")
TEXTS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
SPLIT = re.compile(
    r"(?:^|[/_.-])(train|training|test|validation|valid|val|dev|eval)(?:data|set)?\d*(?=[/_.-])", re.I
)
KINDS = ((".parquet",), (".arrow",), TEXTS)


def paths_of(data_path: str | Path) -> list[Path]:
    """The files and folders that a path names: itself, those of a pattern, or several with spaces between.

    Raises:
        DataError: one of them is not there.
    """
    if Path(data_path).exists():
        return [Path(data_path)]
    paths = []
    for name in str(data_path).split():
        if Path(name).exists():
            paths.append(Path(name))
            continue
        folder, pattern = _fixed_part(name)
        found = sorted(folder.glob(pattern)) if pattern and folder.is_dir() else []
        # What lies in a folder that the pattern has found too is read with the folder.
        found = [path for path in found if not set(path.parents) & set(found)]
        if not found:
            raise DataError(f"{name}: no such file; set --data_path")
        paths += found
    if not paths:
        raise DataError(f"{data_path}: no such file; set --data_path")
    return paths


def folder_of(path: Path) -> Path:
    """Where the pictures of a file or folder of data are named from, if nobody says otherwise."""
    return path if path.is_dir() else path.parent


def picture_folder(image_folder: str | None, data_path: str) -> Path | None:
    """The one folder that the pictures of a run are named from; none where its data lie in several.

    Args:
        image_folder, data_path: flags of the run.
    """
    if image_folder:
        return Path(image_folder)
    try:
        paths = paths_of(data_path)
    except DataError:  # gone since the run, which its pictures need not be
        paths = [Path(name) for name in data_path.split()]
    folders = {folder_of(path) for path in paths}
    return folders.pop() if len(folders) == 1 else None


def _fixed_part(name: str) -> tuple[Path, str]:
    """The folder in front of a pattern's first wildcard, and the pattern below it; none without a wildcard."""
    parts = Path(name).parts
    wild = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    return Path(*parts[:wild]), str(Path(*parts[wild:])) if wild < len(parts) else ""


def files_of(path: Path) -> list[Path]:
    """The data files of a path.

    Raises:
        DataError: there are none, or they are of several kinds or splits.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: is no regular file; expected a file of records, or a folder of them")
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _is_hidden(file, path))
    by_kind = [
        [file for file in files if Path(file.name.removesuffix(".gz")).suffix in kinds] for kinds in KINDS
    ]
    found, *others = [of_kind for of_kind in by_kind if of_kind] or [[]]
    if others:
        raise DataError(
            f"{path}: holds data sets of several kinds, such as {found[0].name} and {others[0][0].name}; name the "
            f"files of one, e.g. --data_path '{path}/**/*{found[0].suffix}'"
        )
    if found:
        _require_one_split(path, found)
        return found
    raise DataError(
        f"{path}: holds no data set; expected files of {', '.join((*DATASETS, *TEXTS))}, or a folder of save_to_disk"
    )


def _is_hidden(file: Path, folder: Path) -> bool:
    inside = file.relative_to(folder)
    return any(part.startswith(".") for part in inside.parts) or inside.name in (
        "dataset_info.json",
        "dataset_infos.json",
        "state.json",
        "dataset_dict.json",
    )


def _require_one_split(path: Path, files: list[Path]) -> None:
    splits = {
        (found := SPLIT.search(str(file.relative_to(path)))) and found.group(1).lower() for file in files
    }
    if len(splits) > 1:
        names = ", ".join(sorted(split or "no name" for split in splits))
        raise DataError(
            f"{path}: holds several splits ({names}); name the files of one, e.g. --data_path '{path}/**/*train*'"
        )
