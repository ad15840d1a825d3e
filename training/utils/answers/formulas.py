"""Whether two formulas in LaTeX are one: the same but for how they are set, or the same number."""

import re
from fractions import Fraction

from .numbers import in_one_piece, last_number

# LaTeX that changes nothing of what a formula says, but how it is set.
NOTHING = re.compile(
    r"(?:\\(?:left|right|displaystyle|!|,|;|:| )|\\(?:text|mathrm|mbox)\s*(?=\{)|[$\s]|\^\s*\{?\\circ\}?|°)+"
)
UNSIGNED = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
ONE_NUMBER = re.compile(rf"[-+−–]?(?:{UNSIGNED}(?:/\d+)?%?|\\[dt]?frac\{{\d+\}}\{{\d+\}})")


def same_formula(one: str, other: str) -> bool:
    if plain(one) == plain(other):
        return True
    number = only_number(one)
    return number is not None and number == only_number(other)


def plain(formula: str) -> str:
    r"""A formula without what only sets it.

    >>> plain("$ 4 \\sqrt{3} $"), plain("\\dfrac{1}{2}"), plain("1 1/2")
    ('4\\sqrt3', '\\frac12', '1 1/2')
    """
    text = _unset(formula).lower()
    text = re.sub(r"\\[dt]frac", r"\\frac", text)
    text = re.sub(r"(\\frac\d) (\d)", r"\1\2", text)
    text = re.sub(r"\{(\w)\}", r"\1", text)  # `x^{2}` is `x^2`
    return re.sub(r"^\{([^{}]*)\}$", r"\1", text)


def only_number(formula: str) -> Fraction | None:
    """The number that a formula is; none where it is anything else, such as a list of numbers."""
    text = in_one_piece(formula)
    if re.search(r",(?:\\[,;: !]|\s)", text):  # `1, 200` are two
        return None
    text = re.sub(r"^\{([^{}]*)\}$", r"\1", _unset(text))
    return last_number(text) if ONE_NUMBER.fullmatch(text) else None


def _unset(formula: str) -> str:
    """Without what only sets it, but for a blank that parts two numbers."""
    return NOTHING.sub(_blank, formula).strip().rstrip(".").replace("\\%", "%")


def _blank(match: re.Match) -> str:
    before, behind = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    return " " if before.isdecimal() and behind.isdecimal() else ""
