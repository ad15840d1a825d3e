"""The numbers that a text names, in digits or in English words, exactly."""

import re
from fractions import Fraction

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
ONES += "seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
WORDS = {word: number for number, word in enumerate(ONES)} | {
    word: 10 * number for number, word in enumerate(TENS, start=2)
}
PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
# A minus sign is one where no word or number stands before it: `10-5` are 10 and 5.
IN_DIGITS = re.compile(
    rf"(?P<minus>(?<![\w.)])[-−])?(?:(?<!\w)(?<!\w\.)(?P<plain>{PLAIN})(?:\s*/\s*(?P<under>\d+))?(?!\w*\d)"
    r"|\\[dt]?frac\s*\{\s*(?P<over>\d+)\s*\}\s*\{\s*(?P<below>\d+)\s*\})"
)
IN_WORDS = re.compile(
    rf"\b(?:(?P<tens>{'|'.join(TENS)})(?:[-\s](?P<ones>{'|'.join(ONES[1:10])}))?|(?P<word>{'|'.join(ONES)}))\b",
    re.IGNORECASE,
)


def last_number(text: str) -> Fraction | None:
    r"""The last number in digits, or where there is none in words; none where there is neither. Thousands may have
    commas; `3/4`, `\frac{3}{4}` and 0.75 are one.

    >>> [str(last_number(text)) for text in ("Of 1,500, this one.", "Twenty-one", "-0.5")]
    ['1500', '21', '-1/2']
    """
    found = [value for match in IN_DIGITS.finditer(text) if (value := _value(match)) is not None]
    if not found:
        found = [_in_words(match) for match in IN_WORDS.finditer(text)]
    return found[-1] if found else None


def _value(match: re.Match) -> Fraction | None:
    """The number of a match in digits; none of what is divided by 0."""
    over, under = match["plain"] or match["over"], int(match["under"] or match["below"] or 1)
    value = Fraction(over.replace(",", ""))
    return None if not under else (-value if match["minus"] else value) / under


def _in_words(match: re.Match) -> Fraction:
    parts = (match["tens"], match["ones"], match["word"])
    return Fraction(sum(WORDS[word.lower()] for word in parts if word))
