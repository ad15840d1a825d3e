"""Names that a text says, in the singular or the plural."""

import re
from collections.abc import Collection
from functools import lru_cache


def form(name: str) -> str:
    """A regular expression of a name and its plural."""
    if name.endswith("mouse"):
        return rf"{re.escape(name.removesuffix('ouse'))}(?:ouse|ice)"
    if name.endswith("y"):
        return rf"{re.escape(name[:-1])}(?:y|ys|ies)"
    return rf"{re.escape(name)}(?:e?s)?"


@lru_cache(maxsize=8)
def finder(names: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of the names, the longest first; the number of the group says which."""
    return re.compile(rf"\b(?:{'|'.join(f'({form(name)})' for name in longest_first(names))})\b")


def longest_first(names: Collection[str]) -> list[str]:
    return sorted(names, key=len, reverse=True)


def objects_in(text: str, names: Collection[str]) -> list[str]:
    """The objects that a text names, in order, each as often as it is named; plurals count."""
    named = longest_first(names)
    return [named[found.lastindex - 1] for found in finder(tuple(names)).finditer(text.lower())]
