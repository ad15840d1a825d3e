"""Result files of Vision-LLM-Alignment: ` ||| ` between the fields of a line, `\\n` for a line break in a field."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from .data.record import DataError

SEPARATOR, LINE_BREAK = " ||| ", "\\n"


def write_lines(file: Path, rows: Iterable[Iterable[object]]) -> None:
    """Writes the fields of each line, the file in one go."""
    lines = [
        SEPARATOR.join(str(field).replace("\n", LINE_BREAK) for field in fields) + "\n" for fields in rows
    ]
    temporary = file.with_name(f".{file.name}.partial")
    temporary.write_text("".join(lines))
    temporary.replace(file)


def read_lines(file: Path, *num_fields: int) -> list[list[str]]:
    """The fields of each line, of which there are one of these numbers.

    Raises:
        DataError: a line has another number of fields, or another than the first one.
    """
    rows = [line.split(SEPARATOR) for line in file.read_text().splitlines()]
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
