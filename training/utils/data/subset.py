"""Some records of a file, written in the file's own format."""

import json
from collections.abc import Sequence
from pathlib import Path

from .entries import open_dataset


def write_subset(source: Path, places: Sequence[int], output: Path) -> None:
    """Writes the entries of `source` at these places, in the given order.

    A JSON list stays one, JSON Lines stay the lines they were; a data set of `save_to_disk` or of parquet files is
    written by the same means.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() or source.suffix in (".parquet", ".arrow"):
        rows = open_dataset(source).dataset.select(places)
        is_saved = (source / "dataset_info.json").is_file()
        (rows.save_to_disk if is_saved else rows.to_parquet)(str(output))
        return
    text = source.read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("["):
        entries = json.loads(text)
        kept = json.dumps([entries[place] for place in places], indent=1, ensure_ascii=False) + "\n"
    else:
        lines = [line for line in text.split("\n") if line.strip()]
        kept = "".join(lines[place] + "\n" for place in places)
    output.write_text(kept, encoding="utf-8")
