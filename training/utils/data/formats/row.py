"""A row that knows which of its keys were read, so that no key can be overlooked."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..record import DataError
from .values import as_flag, as_label, as_list, as_number, as_text, parsed, shown

MESSAGE_KEYS = ("from", "value", "role", "content")  # what a mapping of columns renames inside messages


class Row:
    """The keys and values of a record, or of an object inside it. A null counts as no value.

    Readers take values by the methods below. What nobody took is looked at in `leftovers.py`.

    Args:
        place: what comes before a key in a message, such as "turn 3 ".
        columns: a key by which a reader asks -> the key that the file has.
    """

    def __init__(self, fields: Mapping, place: str = "", columns: Mapping[str, str] | None = None) -> None:
        self.place = place
        self.columns = columns or {}
        self.fields = {key: value for key, value in fields.items() if value is not None}
        self.nulls = [key for key in fields if fields[key] is None]
        self.children: list[Row] = []
        self._taken: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self.fields

    def what(self, key: str) -> str:
        """A value's name in a message."""
        return f"{self.place}`{self.columns.get(key, key)}`"

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, whatever it is."""
        self._taken.add(key)
        return self.fields.get(key, default)

    def need(self, key: str) -> Any:
        """The value of a key; raises DataError without one."""
        if key not in self.fields:
            state = "is null" if key in self.nulls else "is missing"
            raise DataError(f"{self.what(key)} {state}; expected a value")
        return self.take(key)

    def ignore(self, *keys: str) -> None:
        """Keys that a format is known to have and that say nothing to a model."""
        self._taken.update(keys)

    def text(self, key: str) -> str:
        return as_text(self.need(key), self.what(key))

    def texts(self, key: str) -> list[str]:
        values = as_list(self.need(key), self.what(key))
        return [as_text(value, f"{self.what(key)}[{place}]") for place, value in enumerate(values)]

    def number(self, key: str) -> float:
        return as_number(self.need(key), self.what(key))

    def numbers(self, key: str) -> list[float]:
        values = as_list(self.need(key), self.what(key))
        return [as_number(value, f"{self.what(key)}[{place}]") for place, value in enumerate(values)]

    def flag(self, key: str) -> bool:
        return as_flag(self.need(key), self.what(key))

    def label(self, key: str) -> str:
        return as_label(self.need(key), self.what(key))

    def row(self, key: str) -> "Row":
        """An object, also where the file keeps it as a JSON text."""
        return self._child(parsed(self.need(key)), f"{self.what(key)} ")

    def rows(self, key: str, each: str = "") -> list["Row"]:
        """A list of objects, also as a JSON text, or as the object of lists that old data sets make of it.

        Args:
            each: what one of them is called in a message.
        """
        value = parsed(self.need(key))
        if (
            isinstance(value, dict)
            and value
            and all(isinstance(part, (list, tuple)) for part in value.values())
        ):
            lengths = {len(part) for part in value.values()}
            if len(lengths) == 1:
                value = [dict(zip(value, parts, strict=True)) for parts in zip(*value.values(), strict=True)]
        value = as_list(value, self.what(key))
        return [
            self._child(part, f"{self.place}{each} {place} " if each else f"{self.what(key)}[{place}] ")
            for place, part in enumerate(value)
        ]

    def of(self, fields: Any, place: str) -> "Row":
        """A row inside this one, from a value that was taken."""
        return self._child(fields, place)

    def _child(self, value: Any, place: str) -> "Row":
        if not isinstance(value, dict):
            raise DataError(f"{place}is {shown(value)}; expected an object with keys")
        child = Row(renamed(value, self.columns, inside=True), place, self.columns)
        self.children.append(child)
        return child

    def left(self) -> Iterator[tuple[str, Any]]:
        """The keys that nobody took, with their values."""
        return ((key, value) for key, value in self.fields.items() if key not in self._taken)


def renamed(fields: Any, columns: Mapping[str, str], inside: bool = False) -> Any:
    """The fields of a record, or of a message inside it, under the names that readers ask for.

    Args:
        columns: new name -> the name in the file; the new name `ignored` takes names with commas between them.

    Raises:
        DataError: a record has the new name too.
    """
    fields = {str(key): value for key, value in fields.items()}
    for new, old in columns.items():
        if new == "ignored":
            for name in old.split(","):
                fields.pop(name.strip(), None)
        elif (new in MESSAGE_KEYS) == inside and old in fields and old != new:
            if fields.get(new) is not None:
                raise DataError(f"--columns {new}={old}: the record has a `{new}` too; leave one of them out")
            fields[new] = fields.pop(old)
    return fields
