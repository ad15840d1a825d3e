r"""What a response answers in the end: behind its reasoning, in `\boxed{}` or `<answer>` tags, or all of it."""

import re


def final_answer(text: str) -> str:
    r"""The last `\boxed{}` or `<answer>` behind the reasoning, what comes last; without one all that is there.

    >>> final_answer("<think>2 or 3?</think><answer> 3 </answer>")
    '3'
    """
    text = text.rpartition("</think>")[2]
    tagged = [(match.end(), match[1]) for match in re.finditer(r"(?s)<answer>(.*?)</answer>", text)]
    found = max([*tagged, *_boxes(text)], default=(0, text))[1]
    inner = boxed(found)  # `<answer>\boxed{3}</answer>`
    return (found if inner is None else inner).strip()


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{}` holds, which may have braces in it; none without one that is closed."""
    return max(_boxes(text), default=(0, None))[1]


def _boxes(text: str) -> list[tuple[int, str]]:
    r"""Each `\boxed{}`: where it ends, and what it holds."""
    found = []
    for start in re.finditer(r"\\boxed\s*\{", text):
        depth = 1
        for place in range(start.end(), len(text)):
            depth += (text[place] == "{") - (text[place] == "}")
            if not depth:
                found.append((place + 1, text[start.end() : place]))
                break
    return found


def words(text: str) -> str:
    """An answer without case, repeated white space and the mark at its end."""
    return " ".join(text.lower().split()).rstrip(".!").rstrip()
