"""Records of a benchmark file: a JSON array or JSON Lines, whatever its name ends with."""

import json
from collections.abc import Sequence
from pathlib import Path

from training.utils.data.record import DataError


def read_records(file: Path, fields: Sequence[str]) -> list[dict]:
    """The records of a file, each of which holds `fields`.

    Raises:
        DataError: the file is not there, is no JSON, or a record lacks a field.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    text = file.read_text(encoding="utf-8-sig").strip()
    try:
        if text.startswith("["):
            records = json.loads(text)
        else:
            records = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: {error}; expected a JSON array, or a JSON object in each line") from None
    for number, record in enumerate(records):
        lacking = [name for name in fields if not isinstance(record, dict) or name not in record]
        if lacking:
            raise DataError(
                f"{file}[{number}]: no {', '.join(lacking)}; expected an object with {', '.join(fields)}"
            )
    return records
