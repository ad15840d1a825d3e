"""Earlier turns that another tool has written into one text, between the markers of a template."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..record import DataError, Turn


@dataclass(frozen=True)
class Markers:
    """How a template writes who speaks.

    Attributes:
        hint: what a divided text holds in any case; looked for first, as most texts are not divided.
        user, assistant: what stands in front of a turn, with what ends the turn before it.
        end: what may end the last turn.
        sign: what shows that a text is divided: any marker, both kinds, or only turns that alternate (else they
            are words).
        never: what no turn holds once the text is divided.
    """

    hint: str
    user: str
    assistant: str
    end: str
    sign: Literal["any", "both", "turns"]
    never: str = r"<\|(start_header_id|end_header_id|eot_id|im_start|im_end)\|>"


# The separators of Vision-LLM-Alignment's converter for reward data, and those of ChatML.
_LLAMA_3 = r"(?:<\|eot_id\|>)?\s*<\|start_header_id\|>{}<\|end_header_id\|>\s*"
_CHATML = r"(?:<\|im_end\|>)?\s*<\|im_start\|>{}\s*"
TEMPLATES = (
    Markers(
        "<|start_header_id|>",
        _LLAMA_3.format("user"),
        _LLAMA_3.format("assistant"),
        r"\s*<\|eot_id\|>",
        "any",
    ),
    Markers("<|im_start|>", _CHATML.format("user"), _CHATML.format("assistant"), r"\s*<\|im_end\|>", "any"),
    Markers(
        "[/INST]",
        r"(?:^|\s*</s>)\s*(?:<s>)?\s*\[INST\]\s*",
        r"\s*\[/INST\]\s*",
        r"\s*</s>",
        "both",
        r"\[/?INST\]|<</?SYS>>",
    ),
    Markers(
        "ASSISTANT:", r"(?:^|\s*</s>)\s*USER: ?", r"\s*ASSISTANT: ?", r"\s*</s>", "both", r"(?:^|\s)USER: "
    ),
    Markers("### Answer:", r"\n\n### Question:\n", r"\n\n### Answer:\n", "", "turns"),
)
HH_RLHF = Markers("\n\nAssistant:", r"(?:^|\n\n)Human: ?", r"\n\nAssistant: ?", "", "turns")
# What a template writes where an answer begins, at the end of a prompt that somebody has filled in.
_ANSWER_BEGINS = re.compile(
    r"(\[/INST\]|<start_of_turn>model|<\|assistant\|>|\b(ASSISTANT|Assistant):|###\s*(Assistant|Answer|Response):)\s*$"
)


def unflatten(text: str, templates: Sequence[Markers] = TEMPLATES) -> list[Turn]:
    """The turns in a text that a template's markers divide, the first of them the user's.

    Empty where no template's markers are in it, or where they may as well be words.

    Raises:
        DataError: markers that only a template writes do not divide it into alternating turns.
    """
    for markers in templates:
        if markers.hint not in text:
            continue
        found = list(re.finditer(f"(?P<user>{markers.user})|(?P<assistant>{markers.assistant})", text))
        kinds = {match.lastgroup for match in found}
        if not kinds or (markers.sign != "any" and len(kinds) < 2):
            continue
        turns = _divide(text, found, markers)
        if turns or markers.sign == "turns":
            return turns
        raise DataError(
            f"a text holds the markers of a template ({found[0].group().strip()!r}) that do not divide it into turns "
            "of user and assistant; write each turn as one of its own, without markers"
        )
    return []


def _divide(text: str, found: list[re.Match], markers: Markers) -> list[Turn]:
    """The turns between the markers; none if they do not alternate from the user's on, or one is empty."""
    borders = [(0, 0, "user"), *((match.start(), match.end(), match.lastgroup) for match in found)]
    if not text[: found[0].start()].strip() and found[0].lastgroup == "user":
        borders = borders[1:]
    ends = [start for start, _, _ in borders[1:]] + [len(text)]
    turns = [
        Turn(role, re.sub(f"(?:{markers.end})?\\s*$", "", text[begin:stop]))
        for (_, begin, role), stop in zip(borders, ends, strict=True)
    ]
    if len(turns) > 1 and not turns[-1].text:  # the header that an answer would follow
        turns = turns[:-1]
    alternate = all(turn.role == ("user", "assistant")[place % 2] for place, turn in enumerate(turns))
    clean = all(turn.text.strip() and not re.search(markers.never, turn.text) for turn in turns)
    return turns if alternate and clean else []


def unflattened(turns: list[Turn]) -> list[Turn]:
    """The turns of a prompt; those of the user that hold further turns in their text are divided into them."""
    divided: list[Turn] = []
    for turn in turns:
        templates = (*TEMPLATES, HH_RLHF) if turn.text.lstrip().startswith("Human:") else TEMPLATES
        inner = unflatten(turn.text, templates) if turn.role == "user" else []
        if turn.role == "user" and not inner and (begins := _ANSWER_BEGINS.search(turn.text)):
            raise DataError(
                f"a human turn ends with {begins[1]!r}, where a template begins an answer; write the question alone: "
                "the template is added here"
            )
        if inner and inner[-1].role != "user":
            raise DataError(
                "a human turn ends with an answer between a template's markers; expected a question"
            )
        divided += inner or [turn]
    return divided
