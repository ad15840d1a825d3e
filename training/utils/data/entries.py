"""Files to entries, memory-mapped: JSON, tables of text, and data sets. What an entry means is `formats`'s.

    data_path     a file; a folder of shards, or of `save_to_disk`; a pattern; or several of these with spaces between
    file          .json .jsonl .csv .tsv (each also .gz): rows of JSON in an Arrow table;  .parquet .arrow: its own

Big files are converted once, by one process of each node, into the cache folder of the `datasets` library; every
process maps the same table into its memory.
"""

import bisect
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from .data_paths import DATASETS, files_of, folder_of, paths_of
from .json_rows import JsonRows, write_rows
from .record import DataError

IN_MEMORY_BYTES = 16 << 20  # smaller files are converted at each start, and leave nothing behind


@dataclass(frozen=True)
class Shard:
    """Some rows with a name, and the folder that their picture paths start from."""

    name: str
    rows: Sequence[Any]
    folder: Path
    source: int  # which of the paths that were given, from 0


class Entries(Sequence):
    """The entries of some shards, one after the other. Nothing is read before it is asked for."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = list(shards)
        self._ends: list[int] = []
        for shard in self.shards:
            self._ends.append((self._ends[-1] if self._ends else 0) + len(shard.rows))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, place: int) -> Any:
        """
        Raises:
            DataError: the row does not parse.
        """
        shard, row = self._find(place)
        try:
            return shard.rows[row]
        except DataError as error:
            raise DataError(f"{shard.name}[{row}]: {error}") from None

    def where(self, place: int) -> str:
        """ "file[index]"."""
        shard, row = self._find(place)
        return f"{shard.name}[{row}]"

    def shard(self, place: int) -> Shard:
        return self._find(place)[0]

    def _find(self, place: int) -> tuple[Shard, int]:
        if not 0 <= place < len(self):
            raise IndexError(place)
        number = bisect.bisect_right(self._ends, place)
        return self.shards[number], place - (self._ends[number - 1] if number else 0)


def read_entries(data_path: str | Path) -> Entries:
    """The entries of everything that a path names.

    Raises:
        DataError: there is no such file, or it does not parse.
    """
    shards = [
        Shard(str(found), rows, folder_of(path), source)
        for source, path in enumerate(paths_of(data_path))
        for found, rows in _open(path)
    ]
    return Entries(shards)


def _open(path: Path) -> list[tuple[Path, Sequence[Any]]]:
    """The rows of a path, by the file or folder that they are named after."""
    if path.is_dir() and (path / "dataset_info.json").is_file() and (path / "state.json").is_file():
        return [(path, open_dataset(path))]
    if path.is_dir() and (path / "dataset_dict.json").is_file():
        splits = sorted(file.parent.name for file in path.glob("*/dataset_info.json"))
        raise DataError(f"{path}: holds the splits {', '.join(splits)}; name one, e.g. {path / splits[0]}")
    files = files_of(path)
    if files[0].suffix in DATASETS:
        return [(path, open_dataset(path))]
    return [(file, JsonRows(str(file), _json_table(file))) for file in files]


def _json_table(file: Path) -> pa.Table:
    if file.stat().st_size < IN_MEMORY_BYTES:
        buffer = pa.BufferOutputStream()
        write_rows(file, buffer)
        return pa.ipc.open_stream(buffer.getvalue()).read_all()
    stream = cache_folder("rows") / f"{stamp([file])}.arrow"
    if not stream.is_file():
        temporary = stream.with_suffix(f".{os.getpid()}")
        try:
            write_rows(file, str(temporary))
            temporary.replace(stream)
        finally:
            temporary.unlink(missing_ok=True)
    stream.touch()
    return pa.ipc.open_stream(pa.memory_map(str(stream))).read_all()


def stamp(files: Sequence[Path]) -> str:
    """What changes when one of these files does: their paths, sizes and times."""
    known = [(str(file.resolve()), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:32]


def cache_folder(kind: str) -> Path:
    """Where converted files and what was found in them are kept."""
    import datasets

    folder = Path(datasets.config.HF_DATASETS_CACHE) / "vision-llm-alignment" / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class DatasetRows(Sequence):
    """Rows of the `datasets` library. Its pictures stay as compressed as they are."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._rows = dataset.with_format("arrow")  # as stored: nothing is decoded

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: int) -> Any:
        return self._rows[place].to_pylist()[0]


def open_dataset(path: Path) -> DatasetRows:
    """A folder of `save_to_disk`, or the parquet or Arrow files of a path, memory-mapped.

    Raises:
        DataError: it can't be read.
    """
    import datasets

    try:
        if path.is_dir() and (path / "state.json").is_file():
            return DatasetRows(datasets.load_from_disk(str(path)))
        files = files_of(path)
        if files[0].suffix == ".arrow":
            parts = [datasets.Dataset.from_file(str(file)) for file in files]
            return DatasetRows(datasets.concatenate_datasets(parts))
        names = [str(file) for file in files]
        folder = str(cache_folder("parquet") / stamp(files))
        return DatasetRows(
            datasets.load_dataset("parquet", data_files=names, split="train", cache_dir=folder)
        )
    except (OSError, ValueError, TypeError, pa.ArrowInvalid, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error.__cause__ or error).strip().splitlines()
        raise DataError(
            f"{path}: can't be read as a data set ({reason[0] if reason else type(error).__name__}); expected whole "
            "parquet or Arrow files"
        ) from None
