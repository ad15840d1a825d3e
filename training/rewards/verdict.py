"""Verdicts: what a language model is asked about answers, and how it says whether they are right.

It learns to say so by plain supervised fine-tuning, on rows of `python -m data.verdicts`, in one of four forms: of an
answer, Yes or No (arXiv 2408.15240, section 3.1), or of two side by side, A or B (arXiv 2410.02712); the
verdict alone, or a critique in front of it (arXiv 2408.15240, section 3.3).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import permutations
from math import ceil
from typing import Any

from training.utils.data.encode import Encoder
from training.utils.data.record import MARKER, DataError, Record, Turn

NUM_LOOKED_AT = 512  # records, spread evenly, of which those with a verdict tell how verdicts are learned
ROOM = 1.5  # of the longest critique that was looked at: the longest that is written


@dataclass(frozen=True)
class VerdictForm:
    """How a verdict is asked for and said. It is kept with the model: another question would get other answers.

    Attributes:
        text: the question. With `{other}` it is about two answers, of which `{answer}` is shown first.
        yes, no: the verdicts that `{answer}` is right, or better than the other, and that it is not.
        reply: what the model says. With `{critique}` it gives its reasons first.
        critique_len: tokens of the longest critique that it writes.
    """

    text: str = "{question}\n\nAnswer:\n{answer}\n\nIs this answer right? Say Yes or No."
    yes: str = "Yes"
    no: str = "No"
    reply: str = "{verdict}"
    critique_len: int = 0

    @property
    def compares(self) -> bool:
        return "{other}" in self.text

    @property
    def has_critique(self) -> bool:
        return "{critique}" in self.reply

    @property
    def name(self) -> str:
        of = "which of two answers is better" if self.compares else "whether an answer is right"
        return of + (", with a critique" if self.has_critique else "")

    def orders(self, num_answers: int) -> list[tuple[int, ...]]:
        """The numbers of the answers that each question shows, so that all are asked about: each alone, or beside
        each other one in both orders; if there is one answer, beside itself."""
        return [*permutations(range(num_answers), 2 if self.compares else 1)] or [(0, 0)]

    def asked(self, turns: Sequence[Turn], *answers: str) -> Turn:
        """One user turn with a prompt, an answer to it or two, and the question about them. Pictures keep their
        places."""
        first, *others = turns
        speakers = {"user": "User", "assistant": "Assistant"}
        spoken = "\n".join(f"{speakers[turn.role]}: {turn.text}" for turn in turns) if others else first.text
        # One answer is shown, or two; their words stand for no picture.
        shown = zip(("answer", "other"), (text.replace(MARKER, "(image)") for text in answers), strict=False)
        return Turn("user", self.text.format(question=spoken, **dict(shown)))

    def said(self, verdict: str, critique: str = "") -> str:
        return self.reply.format(verdict=verdict, critique=critique)

    def critique_in(self, reply: str) -> tuple[str, bool]:
        """The critique in what the model wrote, and whether a verdict came after it."""
        before = self.reply.partition("{critique}")[2].partition("{verdict}")[0]
        critique, found, _ = reply.rpartition(before.rstrip())
        return (critique if found else reply).strip(), bool(found)

    def is_asked(self, record: Record) -> bool:
        """Whether a record asks for a verdict of this form and gives one."""
        end = self.text.rpartition("}")[2]
        ends = tuple(self.said(verdict) for verdict in (self.yes, self.no))
        if not record.turns[-1].text.endswith(end) or not record.responses:
            return False
        if self.has_critique:
            return all(reply.endswith(ends) for reply in record.responses)
        return {*record.responses} <= {*ends}


FORM = VerdictForm()
PAIR_FORM = VerdictForm(
    "{question}\n\nAnswer A:\n{answer}\n\nAnswer B:\n{other}\n\nWhich answer is better? Say A or B.", "A", "B"
)


def with_critique(form: VerdictForm) -> VerdictForm:
    """The same verdict, with reasons in front of it."""
    plain = f"Say {form.yes} or {form.no}."
    asks = f"Say why, then `Verdict: {form.yes}` or `Verdict: {form.no}`."
    text = form.text.removesuffix(plain) + asks
    return replace(form, text=text, reply="{critique}\n\nVerdict: {verdict}")


FORMS = (FORM, PAIR_FORM, with_critique(FORM), with_critique(PAIR_FORM))


def form_of(compares: bool, has_critique: bool) -> VerdictForm:
    form = PAIR_FORM if compares else FORM
    return with_critique(form) if has_critique else form


def metadata_of(records: Sequence[Record], encoder: Encoder) -> dict[str, Any]:
    """What a model has to remember that learns from these records: how verdicts were asked for, if any was.

    Raises:
        DataError: in several ways, of which a reward model could be used in one.
    """
    numbers = range(0, len(records), ceil(len(records) / NUM_LOOKED_AT) or 1)
    looked_at = [records[number] for number in numbers]
    learned = {form: asked for form in FORMS if (asked := [*filter(form.is_asked, looked_at)])}
    if len(learned) > 1:
        ways = "; ".join(f"{form.name} ({len(asked)})" for form, asked in learned.items())
        raise DataError(
            f"of {len(looked_at)} records looked at, some ask for one verdict and some for another: {ways}; a reward "
            "model is asked in one way: train on rows of one call of data.verdicts, and a model for each form"
        )
    for form, asked in learned.items():
        replies = [reply for record in asked for reply in record.responses]
        longest = max(len(encoder.response_ids(reply)) for reply in replies) if form.has_critique else 0
        return {"verdict": asdict(replace(form, critique_len=ceil(ROOM * longest))), "captions": False}
    return {}


def rows(record: Record, form: VerdictForm) -> Iterator[Record]:
    """Two records to learn a verdict from: of the best answer alone and of the worst, or of both side by side in
    either order.

    Args:
        record: with ranked answers, and critiques of them where the form has any.
    """
    best, worst = 0, len(record.responses) - 1
    shown = [(best, worst), (worst, best)] if form.compares else [(best,), (worst,)]
    for verdict, places in zip((form.yes, form.no), shown, strict=True):
        reply = form.said(verdict, critique_of(record, places) if form.has_critique else "")
        turn = form.asked(record.turns, *(record.responses[place] for place in places))
        yield replace(
            record,
            id=f"{record.id}-{verdict.lower()}",
            turns=(turn,),
            responses=(reply,),
            critiques=(),
            scores=None,
            label=None,
        )


def critique_of(record: Record, places: Sequence[int]) -> str:
    """The record's critique of an answer, or of two in the order in which they are shown."""
    if len(places) == 1:
        return record.critiques[places[0]]
    named = zip("AB", places, strict=True)
    return "\n".join(f"Answer {letter}: {record.critiques[place]}" for letter, place in named)
