"""The numbers that a text names, in digits or in English words, exactly."""

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
ONES += "seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
WORDS = {word: number for number, word in enumerate(ONES)} | {
    word: 10 * number for number, word in enumerate(TENS, start=2)
}
SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
MAX_DIGITS = 4000  # of a number that is read; Python refuses more than 4,300
PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
SCALED = rf"(?P<scales>(?:[-\s]+(?:{'|'.join(SCALES)})s?\b){{0,4}})"
# A minus sign is one where no word or number stands before it: `10-5` are 10 and 5.
IN_DIGITS = re.compile(
    rf"(?P<minus>(?<![\w.)])[-−–])?(?:(?<!\w)(?<!\w\.)(?P<plain>{PLAIN})(?:\s*/\s*(?P<under>\d+))?(?!\w*\d)"
    rf"|\\[dt]?frac\s*\{{\s*(?P<over>\d+)\s*\}}\s*\{{\s*(?P<below>\d+)\s*\}}){SCALED}",
    re.IGNORECASE,
)
IN_WORDS = re.compile(
    rf"\b(?:(?P<tens>{'|'.join(TENS)})(?:[-\s](?P<ones>{'|'.join(ONES[1:10])}))?|(?P<word>{'|'.join(ONES)}))\b{SCALED}",
    re.IGNORECASE,
)
BEHIND_SCALE = re.compile(rf"\b(?:{'|'.join(SCALES)})s?,?[-\s]+(?:and\s+)?$", re.IGNORECASE)

# What is written around one number, in this order.
THIN = r"(?:\{,\}|,\\!|\\[,;:! ]|[~'’\u00a0\u2009\u202f])"  # between thousands
THOUSANDS = re.compile(
    rf"(?<![\w.])\d{{1,3}}(?:{THIN}\d{{3}})+(?!\d)"
    r"|(?<![\w.])\d{1,3}(?: \d{3})*(?: 0\d\d)(?: \d{3})*(?!\d)"  # no number begins with 0
    r"|^\s*[-−–]?\d{1,3}(?: \d{3})+(?=[.\s]*$)"  # there is nothing else
)
VULGAR = re.compile("[¼-¾⅐-⅞]")
COMMA = re.compile(r"(?<=\d)\{,\}(?=\d)")  # 3{,}14
SHORT_FRACTION = re.compile(r"(\\[dt]?frac)\s*(\d)\s*(\d)")  # \frac12
EXPONENT = r"\s*\^\s*(?:\{\s*(?P<braced>[-+−]?\d{1,3})\s*\}|(?P<bare>[-+−]?\d{1,3}))(?!\w)"
SCIENCE = re.compile(
    r"(?<![\w.])(?P<value>\d{1,30}(?:\.\d{1,30})?)(?:e(?P<e>[-+]?\d{1,3})(?!\w)"
    rf"|\s*(?:\\times|\\cdot|[×·*x])\s*10{EXPONENT})",
    re.IGNORECASE,
)
POWER = re.compile(rf"(?<![\w.])(?P<value>\d{{1,3}}){EXPONENT}")
OF_LETTER = re.compile(r"(?:(?<=[A-Za-z])|(?<=[A-Za-z]\}))\s*\^\s*(?:\{[^{}]*\}|[-−]?\d+)")  # cm^2, x^2
MIXED = re.compile(
    r"(?<![\w.,/])(?P<whole>\d{1,3})(?:\s+(?P<over>\d{1,9})\s*/\s*(?P<under>\d{1,9})(?![\w/]|\.\d)"
    r"|\s*\\[dt]?frac\s*\{\s*(?P<above>\d{1,9})\s*\}\s*\{\s*(?P<below>\d{1,9})\s*\})"
)


def last_number(text: str) -> Fraction | None:
    r"""The last number in digits, or where there is none in words; none where there is neither, or words add hundreds
    up (`one hundred and five`). Thousands may be set apart by commas or as LaTeX does it; `3/4`, `\frac{3}{4}` and
    0.75 are one, and so are `2 1/2`, `2\frac{1}{2}` and 2.5, or `1.5e3` and `1.5 \times 10^3`.

    >>> [str(last_number(text)) for text in ("Of 1,500, this one.", "Twenty-one", "-0.5", "12 cm^2", "2 1/2")]
    ['1500', '21', '-1/2', '12', '5/2']
    """
    text = in_one_piece(text)
    found = [match for match in IN_DIGITS.finditer(text) if _value(match) is not None]
    found = found or [*IN_WORDS.finditer(text)]
    if not found or BEHIND_SCALE.search(text, max(0, found[-1].start() - 30), found[-1].start()):
        return None
    return _scaled(found[-1], _value(found[-1]) if found[-1].re is IN_DIGITS else _in_words(found[-1]))


def in_one_piece(text: str) -> str:
    r"""A text in which numbers stand as one: digits, maybe over others, without powers.

    >>> in_one_piece("10{,}000 and 2\\frac{1}{2} and 3e2")
    '10000 and 5/2 and 300'
    """
    text = VULGAR.sub(lambda match: " " + unicodedata.normalize("NFKC", match[0]).replace("⁄", "/"), text)
    text = text.replace("²", "^2").replace("³", "^3")
    text = THOUSANDS.sub(lambda match: re.sub(r"[^-−–\d]", "", match[0]), text)
    text = COMMA.sub(".", text)
    text = SHORT_FRACTION.sub(r"\1{\2}{\3}", text)
    text = SCIENCE.sub(lambda match: format(Decimal(match["value"]).scaleb(_exponent(match)), "f"), text)
    text = POWER.sub(_power, text)
    text = OF_LETTER.sub("", text)
    return MIXED.sub(_mixed, text)


def _exponent(match: re.Match) -> int:
    parts = match.groupdict()
    return int((parts.get("e") or parts["braced"] or parts["bare"]).replace("−", "-"))


def _power(match: re.Match) -> str:
    base, exponent = int(match["value"]), _exponent(match)
    if not base and exponent < 0:
        return "1/0"  # no number
    return f"{base**exponent}" if exponent >= 0 else f"1/{base**-exponent}"


def _mixed(match: re.Match) -> str:
    r"""Of a whole and a fraction the sum, or where a `\frac` is 1 or more their product."""
    whole, over = int(match["whole"]), int(match["over"] or match["above"])
    under = int(match["under"] or match["below"])
    if over < under:
        return f"{whole * under + over}/{under}"
    return f"{whole * over}/{under}" if match["above"] else match[0]


def _value(match: re.Match) -> Fraction | None:
    """The number of a match in digits; none of what is divided by 0, or beyond all bounds."""
    over, below = match["plain"] or match["over"], match["under"] or match["below"] or "1"
    if max(len(over), len(below)) > MAX_DIGITS or not (under := int(below)):
        return None
    value = Fraction(over.replace(",", ""))
    return (-value if match["minus"] else value) / under


def _in_words(match: re.Match) -> Fraction:
    parts = (match["tens"], match["ones"], match["word"])
    return Fraction(sum(WORDS[word.lower()] for word in parts if word))


def _scaled(match: re.Match, value: Fraction) -> Fraction:
    """Times the hundreds, thousands, ... behind it."""
    for word in re.findall("|".join(SCALES), match["scales"].lower()):
        value *= SCALES[word]
    return value
