r"""The letter that an answer to a multiple-choice question gives, in the ways in which models write it.

    B   (b)   **B. dog**   Answer: B   \boxed{B}   The correct answer is **B**.   B\nBecause ...   <answer>B</answer>

What the answer states (`the answer is B`) counts most, and of several statements the last. Else the letter that it
begins with, or ends with on a line of its own. A letter inside a sentence is none, since `A` and `I` are words too:
`A dog` and `The answer is A dog` give none. Nor do two letters side by side, a list of the options, or a statement
that is denied (`I don't think the answer is A`).
"""

import re

# Spelling that says nothing: reasoning that was closed, LaTeX, Markdown, quotes, kinds of brackets.
PLAIN = (
    (r"(?s).*</think>", ""),
    (r"(?s)<answer>(.*?)</answer>|<\|begin_of_box\|>(.*?)<\|end_of_box\|>", r"\nanswer: \1\2\n"),
    (r"(?i)\b(?:none|neither|not all) (?:of )?\(?[A-J]\)?(?!\w)[^.;\n]*", ""),
    (r"[✅✔☑👉]\ufe0f?|^\s*(?:=>|->|[→⇒➡])", ""),
    (r"=>|->|[→⇒➡]", ":"),
    (r"\\(?:text|textbf|mathrm|mathbf|mathsf)\s*\{([^{}]*)\}", r"\1"),
    (r"\\boxed\s*\{([^{}]*)\}", r"\nanswer: \1\n"),
    (r"\\[()\[\]]|[*_`#$\"“”]", ""),
    (r"(?<!\w)['‘]([A-Ja-j])['’](?!\w)", r"\1"),
    (r"^\s*['‘](.*)['’]\s*$", r"\1"),
    (r"(?<![\w.])([A-J])(?:[．、]\s*|\.(?=[^\W\d_]{2}))", r"\1. "),  # `B.dog`
    (r"[\[({<（]\s*([A-Ja-j])\s*[\])}>）]", r"(\1)"),
    (r"^\s*A:\s+(?=\(?[A-J]\)?[.\s]*$)", ""),  # question and answer as `Q:` and `A:`
    (r"[ \t]+", " "),
)
# A letter that stands for itself: in brackets, or with an end or a reason behind it; or no word of English.
END = r"\s*(?:[.,:;!?)。，：；]|\n|$|[-–—(=]|(?:because|since|as)\b)"
LETTER = rf"(?:\(([A-Ja-j])\)|([A-Ja-j])(?![\w'’])(?={END})|([B-HJ])(?![\w'’]))"
ANOTHER = re.compile(  # letter beside the first
    r"[.)]?\s*(?:,? ?\b(?:or|and)\b|[,/&])\s*(?:(?:maybe|perhaps|possibly) )?(?:option )?\(?[A-J]\)?"
    r"(?:\s*(?:[.,;!?]|$)| (?:or|and) )"
    r"|[.)]?\s*\([A-J]\)"
)
NOUN = r"(?i:answer|ans|solution|option|choice|letter|response)"
FILLING = rf"(?i:[\s:]|the\b|{NOUN}\b|clearly\b|definitely\b|indeed\b|most\b|likely\b|probably\b)*"
RIGHT = r"(?i:correct|right|best|answer|most (?:accurate|appropriate|suitable|fitting|plausible|likely))\b"
STATED = (
    rf"(?!(?i:letter) (?:on|in)\b)\b{NOUN}\b[^.\n]{{0,80}}?"
    rf"(?:\b(?i:is)\b|(?<!not )(?<!n['’]t )\bbe\b|[:=：]|\s[-–—]\s){FILLING}{LETTER}",
    rf"\b{NOUN}\s*\n\s*{LETTER}",
    rf"(?:答案|选项?)\W*(?:应该)?[是为]?[\s:：]*{LETTER}",
    rf"\b(?i:choose|select|pick|say|go(?:ing)? with|it is|it's|it (?:should|must|would) be|"
    rf"(?:therefore|thus|hence|so),)\s{FILLING}{LETTER}",
    rf"\b(?:matches|corresponds to)\s(?:the\s)?{NOUN}\s{LETTER}",
    rf"\b(?i:correct)\s*[:：]\s*{LETTER}",
    rf"(?:\b{NOUN}\s|(?:^|[\n.,:;])\s*){LETTER}(?:(?!\bis\b)[^\n]){{0,60}}?\s(?:is|as) (?:the |most likely )*{RIGHT}",
    rf"(?:^|[\n.,:;]|\b{NOUN})\s*(A) is (?:the |most likely )*{RIGHT}",  # no article stands before `is`
)
# What stands before a statement that denies it, and before one of what is not so (`If it were red, it would be C`).
DENIED = re.compile(
    r"(?i)(?:\b(?:unlikely|impossible|(?:I|we) doubt|doubtful|not the case)"
    r"|(?:n['’]t|\bnot) (?:think|believe|say|true))(?: that)?(?: the)?(?: (?:correct|right|best))?\s*$"
)
UNREAL = re.compile(r"(?i)\b(?:if (?!(?:I|we|you|one)\b)[^.\n]*\b(?:were|had)|had it)\b[^.\n]*$")
LEADING = (
    rf"(?:{NOUN}\s)?(?:\(([A-Ja-j])\)|([A-Ja-j]))\s*[.:,!)。]?",  # alone
    r"\(([A-Ja-j])\)[\s.:,].*",
    r"(?:([A-J])[.:)]|([a-j])[.)])\s.*",
    r"([A-J])(?:,? (?:because|since|as)\b| [-–—] ).*",
    rf"{NOUN}\s(?:\(([A-J])\)|([A-J]))\s?:\s.*",
)


def letter(text: str) -> str:
    """The letter, as a capital; empty where the answer gives none."""
    for pattern, plain in PLAIN:
        text = re.sub(pattern, plain, text)
    found = [match for pattern in STATED for match in re.finditer(pattern, text) if not _is_denied(match)]
    found = [match for match in found if not _is_unreal(match)] or found
    if found:
        last = max(found, key=lambda match: match.start(match.lastindex))
        first, end = last[last.lastindex].upper(), last.end(last.lastindex)
        same_line = text[end:].partition("\n")[0]
        return "" if ANOTHER.match(text, end) or _goes_on(first, same_line) else first
    lines = [line.strip(" •-\t") for line in text.splitlines() if line.strip()] or [""]
    if first := _leading(lines[0]):
        return "" if _goes_on(first, "\n".join(lines[:2])) else first
    led = {found for line in lines if (found := _leading(line))}
    return led.pop() if len(led) == 1 and _leading(lines[-1]) else ""


def _is_denied(statement: re.Match) -> bool:
    return DENIED.search(_before(statement)) is not None


def _is_unreal(statement: re.Match) -> bool:
    return "would" in statement[0] and UNREAL.search(_before(statement)) is not None


def _before(statement: re.Match) -> str:
    """What stands before it on its line."""
    return statement.string[max(0, statement.start() - 200) : statement.start()].rpartition("\n")[2]


def _goes_on(first: str, text: str) -> bool:
    """Whether the next option follows: a list of the options is no answer."""
    return bool(re.search(rf"[(\s]{chr(ord(first) + 1)}[.:)]\s", text))


def _leading(line: str) -> str:
    """The letter that a line begins with."""
    for pattern in LEADING:
        if match := re.fullmatch(pattern, line):
            return "" if ANOTHER.match(line, match.end(match.lastindex)) else match[match.lastindex].upper()
    return ""
