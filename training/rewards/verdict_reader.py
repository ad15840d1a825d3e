"""Questions for verdicts as token ids, up to the token that tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from os.path import commonprefix

from training.rewards.counted import Counted
from training.rewards.verdict import VerdictForm
from training.utils.data.encode import Encoder
from training.utils.data.features import Vision
from training.utils.data.record import DataError, Record, TooLongError
from training.utils.data.tree import Response, Tree


@dataclass(frozen=True)
class Questions:
    """What is asked about the answers to a prompt.

    Attributes:
        ids: of each question, with the prompt in it.
        cut: of each answer, whether it lost its end for a question to fit.
    """

    record: Record
    vision: Vision
    ids: list[list[int]]
    cut: list[bool]

    def tree(self, leads: Sequence[list[int]]) -> Tree:
        """The questions, each with the tokens that lead to its verdict: what they begin with is there once, the
        picture with it, and the rest of each is a branch."""
        asked = [ids + lead for ids, lead in zip(self.ids, leads, strict=True)]
        shared = min(len(commonprefix(asked)), min(map(len, asked)) - 1)
        return Tree(
            id=self.record.id,
            prompt_ids=asked[0][:shared],
            prompt_learned=[False] * shared,
            responses=[Response(ids[shared:], ended=False) for ids in asked],
            vision=self.vision,
            record=self.record,
        )

    def prompts(self) -> list[Tree]:
        """Each question as a prompt to go on with."""
        return [
            Tree(self.record.id, ids, [False] * len(ids), vision=self.vision, record=self.record)
            for ids in self.ids
        ]


class VerdictReader:
    """Asks for verdicts of a form.

    Attributes:
        tokens: those that tell, of `yes` and of `no`.
        cut: how many answers lost their ends.
    """

    def __init__(self, encoder: Encoder, form: VerdictForm) -> None:
        """
        Raises:
            DataError: both verdicts are the same token to this tokenizer.
        """
        self.encoder, self.form = encoder, form
        self.cut = Counted(
            "verdicts: {bad} of {all} answers so far lost their ends, as "
            f"--max_seq_len {encoder.max_seq_len} leaves no room for them in the question; raise it"
        )
        self.tokens = self._told_apart("x")[1]

    def lead(self, critique: str = "") -> list[int]:
        """What the model says before the token that tells."""
        lead, tokens = self._told_apart(critique)
        if tokens != self.tokens:
            raise DataError(
                f"behind the critique {critique[-80:]!r} the tokenizer reads the verdicts {self.form.yes!r} and "
                f"{self.form.no!r} as other tokens than behind others; expected a form whose verdicts stand apart"
            )
        return lead

    def ask(self, record: Record, answers: Sequence[str]) -> Questions:
        """All questions about some answers to a record's prompt. Answers that do not fit lose their ends, which is
        counted and said.

        Raises:
            TooLongError: the prompt leaves no room for an answer.
        """
        vision, expansions = self.encoder.look_at(record.images)
        cut = [False] * len(answers)
        ids = []
        for order in self.form.orders(len(answers)):
            found, shorter = self._ids(record, [answers[place] for place in order], expansions)
            ids.append(found)
            for place, is_shorter in zip(order, shorter, strict=True):
                cut[place] |= is_shorter
        self.cut.count(cut)
        return Questions(record, vision, ids, cut)

    def _told_apart(self, critique: str) -> tuple[list[int], tuple[int, int]]:
        words = (self.form.yes, self.form.no)
        yes, no = (self.encoder.response_ids(self.form.said(word, critique)) for word in words)
        lead = commonprefix([yes, no])
        if len(lead) in (len(yes), len(no)):
            raise DataError(
                f"the verdicts {self.form.yes!r} and {self.form.no!r} begin alike; expected others"
            )
        return lead, (yes[len(lead)], no[len(lead)])

    def _ids(
        self, record: Record, answers: Sequence[str], expansions: Sequence[list[int]]
    ) -> tuple[list[int], list[bool]]:
        """The tokens of a question, and which of the answers in it lost their ends. Both are cut at one length, so
        that the order in which they are shown does not matter."""

        def asked(texts: Sequence[str]) -> list[int]:
            turn = self.form.asked(record.turns, *texts)
            return self.encoder.prompt_ids([turn], expansions, record.system)[0]

        longest = self.encoder.max_seq_len - max(self.form.critique_len, 0) - len(self.lead()) - 1
        ids = asked(answers)
        if len(ids) <= longest:
            return ids, [False] * len(answers)
        words = [self.encoder.response_ids(text) for text in answers]
        whole = texts = [*map(self.encoder.decode, words)]
        most = max(map(len, words))
        while len(ids) > longest:
            if not most:
                raise TooLongError(
                    f"{record.source} ({record.id}): with the question for a verdict the prompt takes {len(ids)} "
                    f"tokens; expected at most {longest}; raise --max_seq_len",
                    needed=len(ids) + self.encoder.max_seq_len - longest,
                )
            most = max(most - ceil((len(ids) - longest) / len(answers)), 0)
            texts = [self.encoder.decode(part[:most]) for part in words]
            ids = asked(texts)
        return ids, [text != all_of_it for text, all_of_it in zip(texts, whole, strict=True)]
