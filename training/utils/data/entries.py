"""Files to entries: JSON lists, JSON Lines and data sets. What an entry means is `formats.py`'s."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .record import DataError


def read_entries(path: Path) -> Iterable[Any]:
    """The entries of a JSON list or JSON Lines file, or the rows of a data set.

    Raises:
        DataError: the file is not there or does not parse.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file; set --data_path")
    if path.is_dir() or path.suffix in (".parquet", ".arrow"):
        return _read_dataset(path)
    text = path.read_text(encoding="utf-8-sig")
    try:
        if text.lstrip().startswith("["):
            return json.loads(text)
        return [json.loads(line) for line in text.split("\n") if line.strip()]  # a text may hold U+2028
    except json.JSONDecodeError as error:
        line = text.count("\n", 0, error.pos) + 1 if text.lstrip().startswith("[") else "?"
        raise DataError(
            f"{path}: does not parse as JSON at line {line}: {error.msg}; expected a JSON list, or one object a line"
        ) from None


def _read_dataset(path: Path) -> Iterable[Any]:
    import datasets

    if path.is_dir() and (path / "dataset_info.json").is_file():
        return datasets.load_from_disk(str(path))
    files = [str(path)] if path.is_file() else sorted(map(str, path.glob("**/*.parquet")))
    if not files:
        raise DataError(f"{path}: holds no data set; expected parquet files, or a folder of save_to_disk")
    return datasets.load_dataset("parquet", data_files=files, split="train")
