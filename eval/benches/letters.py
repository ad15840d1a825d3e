r"""The letter that an answer to a multiple-choice question gives, in the ways in which models write it.

    B   (b)   **B. dog**   Answer: B   \boxed{B}   The correct answer is **B**.   B\nBecause ...   <answer>B</answer>

What the answer states (`the answer is B`) counts most, and of several statements the last. Else the letter that it
begins with, or ends with on a line of its own. A letter inside a sentence is none, since `A` and `I` are words too:
`A dog` and `The answer is A dog` give none. Nor do two letters side by side, or a list of the options.
"""

import re

# Spelling that says nothing: reasoning that was closed, LaTeX, Markdown, quotes, kinds of brackets.
PLAIN = (
    (r"(?s).*</think>", ""),
    (r"<answer>(.*?)</answer>", r"\nanswer: \1\n"),
    (r"\\(?:text|textbf|mathrm|mathbf|mathsf)\s*\{([^{}]*)\}", r"\1"),
    (r"\\boxed\s*\{([^{}]*)\}", r"\nanswer: \1\n"),
    (r"\\[()\[\]]|[*_`#$\"“”]", ""),
    (r"(?<!\w)['‘]([A-Ja-j])['’](?!\w)", r"\1"),
    (r"[\[({<（]\s*([A-Ja-j])\s*[\])}>）]", r"(\1)"),
    (r"^\s*A:\s+(?=\(?[A-J]\)?[.\s]*$)", ""),  # question and answer as `Q:` and `A:`
    (r"[ \t]+", " "),
)
# A letter that stands for itself: in brackets, or with an end or a reason behind it; or no word of English.
END = r"\s*(?:[.,:;!?)。，：；]|\n|$|[-–—(=]|(?:because|since|as)\b)"
LETTER = rf"(?:\(([A-Ja-j])\)|([A-Ja-j])(?![\w'’])(?={END})|([B-HJ])(?![\w'’]))"
ANOTHER = re.compile(  # letter beside the first
    r"[.)]?\s*(?:,? ?\b(?:or|and)\b|[,/&])\s*(?:option )?\(?[A-J]\)?(?:\s*(?:[.,;!?]|$)| (?:or|and) )"
    r"|[.)]?\s*\([A-J]\)"
)
NOUN = r"(?i:answer|option|choice|letter|response)"
FILLING = rf"(?i:[\s:]|the\b|{NOUN}\b|clearly\b|definitely\b|indeed\b|most likely\b|probably\b)*"
STATED = (
    rf"\b{NOUN}\b[^.\n]{{0,80}}?(?:\bis\b|(?<!not )\bbe\b|[:=：]|\s[-–—]\s){FILLING}{LETTER}",
    rf"\b{NOUN}\s*\n\s*{LETTER}",
    rf"(?:答案|选)\W*(?:应该)?[是为]?[\s:：]*{LETTER}",
    rf"\b(?i:choose|select|pick|go with|it is|it's|(?:therefore|thus|hence|so),)\s{FILLING}{LETTER}",
    rf"(?:\b{NOUN}\s|(?:^|[\n.,:])\s*){LETTER}(?:(?!\bis\b)[^\n]){{0,60}}?\s(?:is|as) (?:the |most likely )*"
    r"(?:correct|right|best)\b",
)
LEADING = (
    rf"(?:{NOUN}\s)?(?:\(([A-Ja-j])\)|([A-Ja-j]))\s*[.:,!)。]?",  # alone
    r"\(([A-Ja-j])\)[\s.:,].*",
    r"(?:([A-J])[.:)]|([a-j])[.)])\s.*",
    r"([A-J])(?:,? (?:because|since|as)\b| [-–—] ).*",
)


def letter(text: str) -> str:
    """The letter, as a capital; empty where the answer gives none."""
    for pattern, plain in PLAIN:
        text = re.sub(pattern, plain, text)
    found = [match for pattern in STATED for match in re.finditer(pattern, text)]
    if found:
        last = max(found, key=lambda match: match.start(match.lastindex))
        return "" if ANOTHER.match(text, last.end(last.lastindex)) else last[last.lastindex].upper()
    lines = [line.strip(" •-\t") for line in text.splitlines() if line.strip()] or [""]
    if first := _leading(lines[0]):
        next_option = rf"[(\s]{chr(ord(first) + 1)}[.:)]\s"
        return "" if re.search(next_option, "\n".join(lines[:2])) else first  # a list of the options is none
    led = {found for line in lines if (found := _leading(line))}
    return led.pop() if len(led) == 1 and _leading(lines[-1]) else ""


def _leading(line: str) -> str:
    """The letter that a line begins with."""
    for pattern in LEADING:
        if match := re.fullmatch(pattern, line):
            return "" if ANOTHER.match(line, match.end(match.lastindex)) else match[match.lastindex].upper()
    return ""
