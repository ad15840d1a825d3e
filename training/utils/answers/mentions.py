"""The names of a list that a text holds."""

import re
from collections.abc import Sequence
from functools import cache


def objects_in(text: str, names: Sequence[str]) -> list[str]:
    """The objects that a text names, in order, each as often as it is named; plurals count."""
    return _pattern(tuple(names)).findall(text.lower())


@cache
def _pattern(names: tuple[str, ...]) -> re.Pattern:
    alternatives = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.compile(rf"\b({alternatives})(?:e?s)?\b")
