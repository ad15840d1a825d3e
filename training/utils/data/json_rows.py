"""JSON lists, JSON Lines and tables of text (CSV, TSV), also gzipped, as Arrow tables: a row of JSON for each entry.

What a row means is not looked at here: a line that does not parse is one bad record, not a bad file.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from .formats import captions, is_captions
from .json_text import parsed, why
from .record import DataError
from .table_rows import TABLE_SUFFIXES, table_rows

SCHEMA = pa.schema([("json", pa.large_binary()), ("line", pa.int32())])  # a line of the file, 0 where unknown
BLOCK_BYTES = 8 << 20  # what is read of a file at a time
WRAPPERS = ("data", "train", "test", "rows", "records", "examples", "samples")

Row = tuple[bytes, int]  # JSON text, line


class JsonRows(Sequence):
    """The entries of a table, parsed when they are asked for."""

    def __init__(self, name: str, table: pa.Table) -> None:
        self.name = name
        self._json, self._line = table["json"], table["line"]

    def __len__(self) -> int:
        return len(self._json)

    def __getitem__(self, place: int) -> Any:
        """
        Raises:
            DataError: the row does not parse.
        """
        try:
            return json.loads(self._json[place].as_py())
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
            line = self._line[place].as_py()
            where = f" at line {line}" if line else ""
            raise DataError(f"does not parse as JSON{where}: {why(error)}; expected an object") from None


def write_rows(file: Path, sink: Any) -> None:
    """Writes the rows of a file as an Arrow stream.

    Args:
        sink: what pyarrow writes into: a path, or a buffer.

    Raises:
        DataError: the file is no UTF-8, no whole gzip file, or no JSON list where it begins like one.
    """
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        waiting: list[Row] = []
        num_bytes = 0
        try:
            for row in _rows(file):
                waiting.append(row)
                num_bytes += len(row[0])
                if num_bytes > BLOCK_BYTES:
                    writer.write_batch(_batch(waiting))
                    waiting, num_bytes = [], 0
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{file}: is no whole gzip file ({error}); copy it again") from None
        if waiting:
            writer.write_batch(_batch(waiting))


def _batch(rows: list[Row]) -> pa.RecordBatch:
    texts, lines = zip(*rows, strict=True)
    return pa.record_batch([pa.array(texts, pa.large_binary()), pa.array(lines, pa.int32())], schema=SCHEMA)


def _rows(file: Path) -> Iterator[Row]:
    with _opened(file) as opened:
        kind = file.suffixes[-2] if file.suffix == ".gz" and len(file.suffixes) > 1 else file.suffix
        if kind in TABLE_SUFFIXES:
            yield from table_rows(file, opened, TABLE_SUFFIXES[kind])
            return
        head = opened.peek(64)[:64]
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(
                f"{file}: is UTF-16; expected UTF-8; convert it, e.g. by iconv -f UTF-16 -t UTF-8"
            )
        if head.startswith(b"\xef\xbb\xbf"):
            opened.read(3)
            head = head[3:]
        if head.lstrip()[:1] == b"[":
            yield from _list_rows(file, opened)
        else:
            yield from _line_rows(file, opened)


def _opened(file: Path) -> BinaryIO:
    opened = file.open("rb")
    if opened.peek(2)[:2] != b"\x1f\x8b":
        return opened
    return io.BufferedReader(gzip.GzipFile(fileobj=opened), 1 << 20)


def _line_rows(file: Path, opened: BinaryIO) -> Iterator[Row]:
    """A row for each line that is not blank; or those of the one document that all lines are."""
    lines = ((text, number) for number, text in enumerate(opened, 1) if text.strip())
    first = next(lines, None)
    if first is None:
        return
    second = next(lines, None)
    if second is None or _does_not_parse(first[0]):
        rest = b"".join(text for text, _ in ([second] if second else []) + list(lines))
        document = parsed(first[0] + rest)
        if isinstance(document, dict):
            yield from ((json.dumps(entry).encode(), 0) for entry in _unwrapped(document))
            return
        if second is None and document is None:
            raise DataError(
                f"{file}: does not parse as JSON at line {first[1]}; expected a JSON list, or one object a line"
            )
        yield from _split_again(first, first[0] + rest)
        return
    yield first
    yield second
    yield from lines


def _split_again(first: Row, text: bytes) -> Iterator[Row]:
    return ((line, first[1] + number) for number, line in enumerate(text.split(b"\n")) if line.strip())


def _does_not_parse(text: bytes) -> bool:
    return parsed(text) is None


def _unwrapped(document: dict) -> Iterable[Any]:
    """The entries that a document holds below one key, or COCO's captions; else the document alone."""
    if is_captions(document):
        return captions(document)
    lists = [name for name, value in document.items() if isinstance(value, list) and name in WRAPPERS]
    return document[lists[0]] if len(lists) == 1 and "conversations" not in document else [document]


def _list_rows(file: Path, opened: BinaryIO) -> Iterator[Row]:
    """The elements of a JSON list, found one after the other, so that the file is never in memory as a whole."""
    scan = json.JSONDecoder().scan_once
    text = io.TextIOWrapper(opened, encoding="utf-8", newline="")
    buffer, place, lines_before, wanted = "", 0, 0, BLOCK_BYTES
    expected = "["
    while True:
        try:
            more = text.read(wanted)
        except UnicodeDecodeError as error:
            line = lines_before + buffer.count("\n") + 1
            raise DataError(
                f"{file}: is no UTF-8 behind line {line} ({why(error)}); expected UTF-8; save it as that"
            ) from None
        lines_before += buffer.count("\n", 0, place)
        buffer, place = buffer[place:] + more, 0
        while True:
            place = _behind_space(buffer, place)
            if place == len(buffer):
                break
            sign = buffer[place]
            if expected == "end":
                raise _no_list(file, buffer, place, lines_before, "Extra data")
            if sign == "]" and expected in ("first", ","):
                expected, place = "end", place + 1
            elif expected in ("[", ","):
                if sign != expected:
                    raise _no_list(file, buffer, place, lines_before, f"Expecting {expected!r} delimiter")
                expected, place = ("first" if sign == "[" else "value"), place + 1
            else:
                try:
                    _, end = scan(buffer, place)
                except (StopIteration, ValueError, RecursionError) as error:
                    if more:
                        break  # perhaps it goes on in the next block
                    where = getattr(error, "pos", place)
                    raise _no_list(file, buffer, where, lines_before, why(error)) from None
                if end == len(buffer) and more:
                    break  # a number may go on
                yield buffer[place:end].encode("utf-8", "surrogatepass"), 0
                expected, place = ",", end
        if not more:
            if expected != "end":
                raise _no_list(file, buffer, len(buffer), lines_before, "the list does not end")
            return
        wanted = max(
            BLOCK_BYTES, len(buffer) - place
        )  # one entry longer than a block: twice as much each time


def _behind_space(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _no_list(file: Path, buffer: str, place: int, lines_before: int, reason: str) -> DataError:
    line = lines_before + buffer.count("\n", 0, place) + 1
    return DataError(
        f"{file}: does not parse as JSON at line {line}: {reason}; expected a JSON list, or one object a line"
    )
