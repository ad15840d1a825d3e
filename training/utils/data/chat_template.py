"""The chat template that a checkpoint brings (`--template auto`), taken apart into segments.

The words of each turn are rendered as private-use characters and put back afterwards, so that whatever the
template does around them is kept, and special tokens inside them stay plain text. What is rendered depends on the
shape of a conversation alone, so each shape is rendered once.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache, partial
from typing import Any, NamedTuple

from .record import MARKER, DataError, Turn
from .segments import Piece, Segment, texts_of
from .time_limit import Failed, OutOfTime, run_within

DATE = date(2024, 7, 26)  # what Llama 3's template writes where it does not know today's
CACHED_SHAPES = 4096
LONGEST_S = 10.0  # of a rendering, which takes a millisecond
_WORDS = "\ue000{}\ue001"  # in place of somebody's words
_SLOT = re.compile("\ue000(.+?)\ue001")


class Blanks(NamedTuple):
    """Whitespace around words: a template may trim it."""

    before: str
    after: str


NO_BLANKS = Blanks("", "")


class Shape(NamedTuple):
    """All that the rendering of a conversation depends on."""

    system: Blanks | None
    users: tuple[tuple[Blanks | None, ...], ...]  # the parts of each user turn: words, or None for a picture
    num_answers: int


class ChatTemplate:
    """The chat template of a processor, as a prompt template.

    The end of an answer is the first special token that the template writes behind it, else the tokenizer's
    end-of-sequence token, which is then what closes an answer in place of whatever the template writes there.
    A template that asks for today's date gets `DATE`: a prompt must be the same tomorrow.

    Raises:
        DataError: there is no chat template, or a prompt reads differently once it is answered.
    """

    turns_apart = False

    def __init__(self, processor) -> None:
        template = getattr(processor, "chat_template", None)
        if isinstance(template, dict):
            template = template.get("default")
        if not template:
            raise _refusal("the checkpoint has no chat template; name the template that it was trained with")
        self._processor = processor
        self._template = re.sub(
            r"strftime_now\(\s*(['\"])(.*?)\1\s*\)", lambda call: repr(DATE.strftime(call[2])), template
        )
        self._eos = processor.tokenizer.eos_token
        tokenizer = processor.tokenizer
        specials = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        specials = sorted({*specials, *tokenizer.all_special_tokens}, key=len, reverse=True)

        asked, spaced = Shape(None, ((NO_BLANKS,),), 0), Blanks(" ", " ")
        prompt = self._render(asked, generate=True)
        full = self._render(asked._replace(num_answers=1), answers=spaced)
        words = _WORDS.format("a0")
        if not full.startswith(prompt) or words not in full:
            raise _refusal(
                "the chat template renders a prompt differently once it is answered, so training and generation "
                "would differ; name a template instead"
            )
        self._trims_answers = f" {words} " not in full
        full = self._render(asked._replace(num_answers=1))
        self._before, closing = full[len(prompt) :].split(words)
        # The answer ends with its first special token; what follows belongs to the next prompt.
        found = re.search("|".join(map(re.escape, specials)), closing)
        self._end = closing[: found.end()] if found else self._eos
        self._closing = self._end if found else closing.rstrip()
        self._segments = lru_cache(CACHED_SHAPES)(self._segments)

    def __repr__(self) -> str:
        return f"ChatTemplate({self._template!r})"

    def prompts(self, turns: Sequence[Turn], image: str, system: str = "") -> list[Segment]:
        words, users = {}, []
        for number, text in enumerate(texts_of(turns, "user")):
            parts: list[Blanks | None] = []
            for place, part in enumerate(_parts(text)):
                if part is not None:
                    words[f"u{number}.{place}"] = part.strip()
                parts.append(part if part is None else _blanks(part))
            users.append(tuple(parts))
        words["s"] = system.strip()
        num_answers = len(turns) - len(users)
        shape = Shape(_blanks(system) if system else None, tuple(users), num_answers)
        return [
            [
                Piece(words[stretch], False) if place % 2 else Piece(stretch, True)
                for place, stretch in enumerate(stretches)
            ]
            for stretches in self._segments(shape)
        ]

    def answer(self, text: str) -> Segment:
        words = text.strip() if self._trims_answers else text
        return [Piece(self._before, True), Piece(words, False), Piece(self._end, True)]

    def _segments(self, shape: Shape) -> list[list[str]]:
        """For each user turn: text of the template and names of words in alternation."""
        rendered = self._render(shape, generate=True)
        segments = []
        for number in range(len(shape.users)):
            if number < shape.num_answers:
                head, answer, rendered = rendered.partition(self._before + _WORDS.format(f"a{number}"))
                if not answer:
                    raise _refusal("the chat template leaves out an earlier answer; name a template instead")
            else:
                head, rendered = rendered, ""
            if number:
                head = head.removeprefix(self._closing)
            segments.append(_SLOT.split(head))
        expected = [f"u{n}.{p}" for n, user in enumerate(shape.users) for p, part in enumerate(user) if part]
        found = {name for stretches in segments for name in stretches[1::2]}
        if lost := [name for name in expected if name not in found]:
            raise _refusal(
                f"the chat template leaves out {len(lost)} of {len(expected)} stretches of the user's words; "
                "name a template instead"
            )
        return segments

    def _render(self, shape: Shape, generate: bool = False, answers: Blanks = NO_BLANKS) -> str:
        messages = []
        for number, user in enumerate(shape.users):
            content = [
                {"type": "image"} if blanks is None else _text(f"u{number}.{place}", blanks)
                for place, blanks in enumerate(user)
            ]
            messages.append({"role": "user", "content": content})
            if number < shape.num_answers:
                messages.append({"role": "assistant", "content": [_text(f"a{number}", answers)]})
        if shape.system is None:
            return self._apply(messages, generate)
        return self._with_system(shape.system, messages, generate)

    def _with_system(self, blanks: Blanks, messages: list[dict], generate: bool) -> str:
        """Rendered with a system prompt, its content as parts or as text: what the template takes."""
        part, reason = _text("s", blanks), "its words do not appear in the prompt"
        for content in ([part], part["text"]):
            try:
                rendered = self._apply([{"role": "system", "content": content}, *messages], generate)
            except DataError as error:
                reason = str(error).partition(": ")[2]
                continue
            if rendered == self._with_answer_first(content, messages, generate):
                reason = "it would be written as an answer"
            elif rendered.count(_WORDS.format("s")) == 1:
                return rendered
        raise _refusal(
            f"the chat template has no place for a system prompt here ({reason}); put its words in front of the "
            "first question, or name a template that has one"
        )

    def _with_answer_first(self, content: Any, messages: list[dict], generate: bool) -> str:
        """With an answer in place of the system prompt: a template may take every role but the user's for one."""
        try:
            return self._apply([{"role": "assistant", "content": content}, *messages], generate)
        except DataError:
            return ""

    def _apply(self, messages: list[dict[str, Any]], generate: bool) -> str:
        render = partial(self._processor.apply_chat_template, messages, chat_template=self._template)
        render = partial(render, tokenize=False, add_generation_prompt=generate)
        try:
            return run_within(LONGEST_S, render)
        except OutOfTime:
            raise _refusal(
                f"the chat template takes longer than {LONGEST_S:.0f} s for one prompt; mend it, or name a template"
            ) from None
        except Failed as error:  # its own refusal, it wants other content, or it is wrong
            raise _refusal(f"the chat template can't render this: {error}") from None


def _refusal(message: str) -> DataError:
    return DataError(f"--template auto: {message}")


def _text(name: str, blanks: Blanks) -> dict[str, str]:
    return {"type": "text", "text": blanks.before + _WORDS.format(name) + blanks.after}


def _blanks(words: str) -> Blanks:
    core = words.strip()
    before, _, after = words.partition(core)
    return Blanks(before, after)


def _parts(text: str) -> Iterator[str | None]:
    """The words of a user turn, and None for each picture.

    A line break between words and the pictures that open or close a turn is how a record sets them apart; the
    template has its own way. All other blanks belong to the words.
    """
    stretches = text.strip().split(MARKER)
    written = [place for place, words in enumerate(stretches) if words.strip()] or [len(stretches)]
    for place, words in enumerate(stretches):
        if place:
            yield None
        if not words.strip():
            continue
        core = words.strip()
        before, _, after = words.partition(core)
        if place == written[0] and "\n" in before:
            before = ""
        if place == written[-1] and "\n" in after:
            after = ""
        yield before + core + after
