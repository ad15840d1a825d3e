"""Result files of Vision-LLM-Alignment: ` ||| ` between the fields of a line, `\\n` for a line break in a field."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files.whole import write_whole
from .record import DataError

SEPARATOR, LINE_BREAK = " ||| ", "\\n"
SUFFIX = ".res"


def json_file(output_path: str, legacy_output: bool) -> Path:
    """Where the JSON Lines go: of a `.res` file that is wanted as legacy lines, to the `.jsonl` beside it.

    Raises:
        DataError: that `.res` file holds predictions as JSON, which legacy lines would replace.
    """
    output = Path(output_path)
    if not legacy_output or output.suffix != SUFFIX:
        return output
    if output.is_file() and is_json(output):
        raise DataError(
            f"--output_path {output}: holds predictions as JSON Lines, which --legacy_output would replace; rename "
            f"it to {output.with_suffix('.jsonl').name}, or choose another --output_path"
        )
    return output.with_suffix(".jsonl")


def legacy_file(results: Path) -> Path:
    """Where the legacy lines of a `json_file` go."""
    return results.with_suffix(SUFFIX)


def write_lines(file: Path, rows: Iterable[Iterable[object]]) -> None:
    """Writes the fields of each line, the file in one go."""
    lines = [
        SEPARATOR.join(str(field).replace("\n", LINE_BREAK) for field in fields) + "\n" for fields in rows
    ]
    write_whole(file, "".join(lines))


def read_lines(file: Path, *num_fields: int) -> list[list[str]]:
    """The fields of each line, of which there are one of these numbers.

    Raises:
        DataError: a line has another number of fields, or another than the first one.
    """
    # Other characters that end a line belong to the texts.
    with file.open(encoding="utf-8", newline="\n") as lines:
        rows = [line.removesuffix("\n").split(SEPARATOR) for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) not in num_fields or len(row) != len(rows[0]):
            raise DataError(
                f"{file}: line {number}: found {len(row)} fields, expected {' or '.join(map(str, num_fields))} with "
                f"`{SEPARATOR}` between them, in every line as many; a text that holds it can't be told apart"
            )
    return [[field.replace(LINE_BREAK, "\n") for field in row] for row in rows]


def named_within(image: str | Path, folders: Sequence[Path]) -> str:
    """An image as from the first of the folders that it lies in, else by its whole path."""
    names = [str(Path(image).relative_to(folder)) for folder in folders if Path(image).is_relative_to(folder)]
    return names[0] if names else str(image)


def is_json(file: Path) -> bool:
    """Whether the file holds JSON Lines."""
    with file.open(encoding="utf-8") as opened:
        try:
            return isinstance(json.loads(opened.readline()), dict)
        except json.JSONDecodeError:
            return False
