"""Verdicts: a language model that says whether an answer is right, as a reward (arXiv 2408.15240, section 3.1).

It learns to say Yes or No by plain supervised fine-tuning, on rows of `python -m data.verdicts`. The score of an
answer is log p(Yes) - log p(No) behind the question whether it is right, in nats.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from os.path import commonprefix
from typing import Any

from training.utils.data.encode import Encoder
from training.utils.data.record import MARKER, DataError, Record, TooLongError, Turn
from training.utils.data.tree import Response, Tree

NUM_LOOKED_AT = 512  # records, spread evenly, of which one with a verdict tells that verdicts are learned


@dataclass(frozen=True)
class VerdictForm:
    """How a verdict is asked for. It is kept with the model: another question would get other answers."""

    text: str = "{question}\n\nAnswer:\n{answer}\n\nIs this answer right? Say Yes or No."
    yes: str = "Yes"
    no: str = "No"

    def asked(self, turns: Sequence[Turn], answer: str) -> Turn:
        """One user turn with a prompt, an answer to it, and the question about it. Pictures keep their places."""
        first, *others = turns
        speakers = {"user": "User", "assistant": "Assistant"}
        spoken = "\n".join(f"{speakers[turn.role]}: {turn.text}" for turn in turns) if others else first.text
        answer = answer.replace(MARKER, "(image)")  # words of an answer stand for no picture
        return Turn("user", self.text.format(question=spoken, answer=answer))

    def is_asked(self, record: Record) -> bool:
        """Whether a record asks for a verdict and gives one."""
        end = self.text.rpartition("{answer}")[2]
        verdicts = {self.yes, self.no}
        return (
            record.turns[-1].text.endswith(end) and {*record.responses} <= verdicts and any(record.responses)
        )


FORM = VerdictForm()


def metadata_of(records: Sequence[Record]) -> dict[str, Any]:
    """What a model has to remember that learns from these records: how verdicts were asked for, if any was."""
    looked_at = range(0, len(records), ceil(len(records) / NUM_LOOKED_AT) or 1)
    learns = any(FORM.is_asked(records[number]) for number in looked_at)
    return {"verdict": asdict(FORM), "captions": False} if learns else {}


class VerdictReader:
    """Makes trees of answers, each with the question whether it is right, up to the token that tells."""

    def __init__(self, encoder: Encoder, form: VerdictForm) -> None:
        """
        Raises:
            DataError: both verdicts are the same token to this tokenizer.
        """
        self.encoder, self.form = encoder, form
        verdicts = [encoder.response_ids(word) for word in (form.yes, form.no)]
        self.said = commonprefix(verdicts)  # what comes before the token that tells
        rest = [ids[len(self.said) :] for ids in verdicts]
        if not all(rest):
            raise DataError(f"the verdicts {form.yes!r} and {form.no!r} begin alike; expected others")
        self.tokens: tuple[int, int] = (rest[0][0], rest[1][0])

    def tree(self, record: Record, answers: Sequence[str]) -> Tree:
        """The verdicts on some answers to a record's prompt: what their texts begin with is there once, the picture
        with it, and the rest of each is a branch.

        Raises:
            TooLongError: the prompt leaves no room for an answer.
        """
        vision, expansions = self.encoder.look_at(record.images)
        asked = [self._ids(record, answer, expansions) for answer in answers]
        shared = min(len(commonprefix(asked)), min(map(len, asked)) - 1)
        return Tree(
            id=record.id,
            prompt_ids=asked[0][:shared],
            prompt_learned=[False] * shared,
            responses=[Response(ids[shared:], ended=False) for ids in asked],
            vision=vision,
            record=record,
        )

    def _ids(self, record: Record, answer: str, expansions: Sequence[list[int]]) -> list[int]:
        """The tokens in front of the one that tells. An answer that does not fit loses its end."""

        def asked(text: str) -> list[int]:
            turn = self.form.asked(record.turns, text)
            return self.encoder.prompt_ids([turn], expansions, record.system)[0] + self.said

        longest = self.encoder.max_seq_len - 1
        ids, kept = asked(answer), self.encoder.response_ids(answer)
        while len(ids) > longest:
            if not kept:
                raise TooLongError(
                    f"{record.source} ({record.id}): with the question for a verdict the prompt takes {len(ids)} "
                    f"tokens; expected at most {longest}; raise --max_seq_len",
                    needed=len(ids) + 1,
                )
            kept = kept[: max(len(kept) - (len(ids) - longest), 0)]
            ids = asked(self.encoder.decode(kept))
        return ids


def rendering(reader: VerdictReader, policy_encoder: Encoder) -> Callable[[Tree], Tree]:
    """How a policy's prompts with its responses are read."""

    def rendered(tree: Tree) -> Tree:
        answers = [policy_encoder.decode(response.ids) for response in tree.responses]
        return reader.tree(tree.record, answers)

    return rendered


def row(record: Record, answer: str, verdict: str) -> Record:
    """A record to learn a verdict from."""
    name = f"{record.id}-{verdict.lower()}"
    turns = (FORM.asked(record.turns, answer),)
    return replace(record, id=name, turns=turns, responses=(verdict,), scores=None, label=None)
