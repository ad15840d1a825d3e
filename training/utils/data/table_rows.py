"""Tables of text (CSV, TSV) as rows of JSON."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .json_text import parsed, why
from .record import DataError

TABLE_SUFFIXES = {".csv": ",", ".tsv": "\t"}


def table_rows(file: Path, opened: BinaryIO, delimiter: str) -> Iterator[tuple[bytes, int]]:
    """A row for each line of a table; a cell that holds a JSON list or object is read as one."""
    csv.field_size_limit(1 << 30)
    text = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
    reader = csv.DictReader(text, delimiter=delimiter, strict=True)
    try:
        twice = sorted(name for name, count in Counter(reader.fieldnames or ()).items() if count > 1)
        if twice:
            raise DataError(
                f"{file}: the first line names `{twice[0]}` twice; expected a name for each column"
            )
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{file}: line {reader.line_num} has not as many cells as the {len(reader.fieldnames)} of the "
                    "first line, which names them"
                )
            cells = {name: _cell(value) for name, value in row.items()}
            yield json.dumps(cells).encode(), reader.line_num
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"{file}: no table behind line {reader.line_num}: {why(error)}; expected UTF-8 with a first line "
            "that names the columns"
        ) from None


def _cell(text: str) -> Any:
    if text[:1] in ("[", "{"):
        value = parsed(text.encode())
        return text if value is None else value
    return text or None
