"""The texts of a record as token ids, and what of them fits into `max_seq_len`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..model.family import Family
from .DST import get_template
from .record import MARKER, DataError, Record, TooLongError, Turn
from .segments import Segment, texts_of
from .vocabulary import Vocabulary

MIN_RESPONSE_LEN = 16  # tokens that a response keeps before turns of the prompt are dropped for room


@dataclass(frozen=True)
class Fit:
    """How a record fits into `max_seq_len`."""

    prompt_len: int
    response_lens: tuple[int, ...]  # as they are kept
    responses_cut: int  # how many lost their end
    turns_dropped: int  # of the prompt; a question and its answer are two
    turns: tuple[Turn, ...]  # those that are left


class TextEncoder:
    """Turns the texts of records into token ids.

    Prompt and response are tokenised apart, so no merge crosses their border and a prompt has the same ids
    in training as in generation.

    Args:
        word_tokens: special tokens that are words, besides those that `Vocabulary` knows by their form.
        stop_ids: tokens that end an answer besides the template's end of turn and the tokenizer's end of sequence.

    Attributes:
        stop_ids: all tokens that end an answer.
        structural_ids: special tokens that are never part of an answer's words.
        forbidden_ids: tokens that can't be sampled: those of the structure that end nothing.
    """

    def __init__(
        self,
        processor,
        family: Family,
        template_name: str,
        max_seq_len: int,
        word_tokens: Sequence[str] = (),
        stop_ids: Sequence[int] = (),
    ) -> None:
        self.tokenizer = processor.tokenizer
        self.processor = processor
        self.family = family
        self.template_name = template_name
        self.template = get_template(template_name, processor)
        self.max_seq_len = max_seq_len
        self.word_tokens = sorted(set(word_tokens))
        image_tokens = [family.image_token(processor), family.marker(processor)]  # in most families the same
        self.image_id, self.marker_id = self.tokenizer.convert_tokens_to_ids(image_tokens)
        self.vocabulary = Vocabulary(self.tokenizer, image_tokens, word_tokens)
        self.structural_ids = self.vocabulary.structural_ids
        closed = self.response_ids("x")
        self.end_id = closed[-1]  # the token that ends an answer
        if self.end_id not in self.vocabulary.special_ids:
            end = self.template.answer("")[-1].text
            raise DataError(
                f"--template {template_name}: its end of turn {end!r} is no special token of this checkpoint's "
                "tokenizer, so no answer would ever end; choose the template that the checkpoint was trained with"
            )
        ends = self.vocabulary.special_ids.intersection(closed)  # a template may write several
        self.stop_ids = {*ends, self.tokenizer.eos_token_id, *stop_ids} - {None}
        self.forbidden_ids = (self.structural_ids | self.vocabulary.unused_ids) - self.stop_ids
        opening = self.tokenizer("").input_ids
        self._bos = opening[:1] if opening and opening[0] == self.tokenizer.bos_token_id else []

    # -- token ids ----------------------------------------------------------------------------------

    def special_looking(self, record: Record) -> list[str]:
        """What looks like a special token in the record's words, and will be read as characters."""
        texts = (turn.text.replace(MARKER, "") if turn.role == "user" else turn.text for turn in record.turns)
        return [
            token
            for text in (*texts, *record.responses, record.system)
            for token in self.vocabulary.special_looking(text)
        ]

    def prompt_ids(
        self, turns: Sequence[Turn], expansions: Sequence[list[int]], system: str = ""
    ) -> tuple[list[int], list[bool]]:
        """Token ids of a prompt, and which of them an earlier assistant turn produced."""
        ids: list[int] = []
        learned: list[bool] = []
        remaining = iter(expansions)
        for part, answer in self._parts(turns, system):
            part = [t for i in part for t in (next(remaining) if i == self.marker_id else [i])]
            ids += part + answer
            learned += [False] * len(part) + [self.family.learns_earlier_answers] * len(answer)
        return ids, learned

    def response_ids(self, text: str) -> list[int]:
        """Token ids of an answer with its end of turn."""
        return self.vocabulary.ids(self.template.answer(text), opening=False)

    def written(self, record: Record, response: str) -> str:
        """Prompt and response as one text, without special tokens and pictures."""
        ids, _ = self.prompt_ids(record.turns, [[]] * len(record.images), record.system)
        return self.tokenizer.decode(ids + self.response_ids(response), skip_special_tokens=True)

    def decode(self, response_ids: Sequence[int]) -> str:
        """The words of a response."""
        return self.vocabulary.decode(response_ids)

    # -- fitting into max_seq_len -------------------------------------------------------------------

    def fit(self, record: Record, image_lens: Sequence[int]) -> Fit:
        """What of a record is kept: responses lose their ends first, then the oldest turns without images go.

        Args:
            image_lens: tokens of each image.

        Raises:
            TooLongError: the prompt leaves no room for a response, or two responses differ only behind the cut.
            DataError: a text holds half a character, or the template has no place for the system prompt.
        """
        _check_texts(record)
        responses = [self.response_ids(text) for text in record.responses]
        longest = max(map(len, responses), default=1)
        turns, prompt_len = self._kept_turns(record, image_lens, longest)
        room = self.max_seq_len - prompt_len
        cut = [tuple(response[:room]) for response in responses]
        if len(set(cut)) < len(set(map(tuple, responses))):
            raise TooLongError(
                f"two responses differ only behind the {room} tokens that --max_seq_len {self.max_seq_len} leaves "
                "for them; raise it or remove one",
                needed=prompt_len + longest,
            )
        return Fit(
            prompt_len=prompt_len,
            response_lens=tuple(map(len, cut)),
            responses_cut=sum(len(response) > room for response in responses),
            turns_dropped=len(record.turns) - len(turns),
            turns=turns,
        )

    def upper_bound(self, record: Record, image_lens: Sequence[int]) -> int:
        """At least as many as the tokens of prompt and longest response, mostly without tokenising them."""
        prompt, responses = self.at_most(record, image_lens)
        return prompt + max(responses, default=0)

    def at_most(self, record: Record, image_lens: Sequence[int]) -> tuple[int, list[int]]:
        """At least as many as the tokens of the prompt, and of each response, mostly without tokenising them.

        Raises:
            DataError: as `fit`, but for the room.
        """
        _check_texts(record)
        most_tokens = self.vocabulary.most_tokens
        prompts = self._prompts(record.turns, record.system)
        answers = [self.template.answer(text) for text in texts_of(record.turns, "assistant")]
        prompt = sum(most_tokens(segment, opening=number == 0) for number, segment in enumerate(prompts))
        prompt += sum(most_tokens(answer, opening=False) for answer in answers)
        responses = [most_tokens(self.template.answer(text), opening=False) for text in record.responses]
        return len(self._bos) + prompt + sum(image_lens), responses

    def _prompts(self, turns: Sequence[Turn], system: str) -> list[Segment]:
        prompts = self.template.prompts(turns, self.family.image_text(self.processor), system)
        return self.family.laid_out(self.processor, prompts)

    def _parts(self, turns: Sequence[Turn], system: str) -> Iterator[tuple[list[int], list[int]]]:
        """For each user turn the ids of its segment, images not expanded, and those of the answer to it."""
        prompts = self._prompts(turns, system)
        answers = texts_of(turns, "assistant")
        for number, segment in enumerate(prompts):
            part = self.vocabulary.ids(segment, opening=number == 0 or self.template.turns_apart)
            if number == 0 and part[:1] != self._bos:
                part = self._bos + part
            yield part, self._earlier_ids(answers[number]) if number < len(answers) else []

    def _earlier_ids(self, text: str) -> list[int]:
        """Token ids of an answer that another question follows."""
        ids = self.response_ids(text)
        return ids[:-1] if self.template.turns_apart else ids

    def _kept_turns(
        self, record: Record, image_lens: Sequence[int], longest: int
    ) -> tuple[tuple[Turn, ...], int]:
        """The turns that leave room for a response, the oldest without images dropped, and their tokens.

        Args:
            longest: tokens of the longest response, which may be cut to `MIN_RESPONSE_LEN`.
        """
        image_tokens = sum(image_lens) - len(image_lens)  # what expanding the markers adds

        def exchange_lens(turns: Sequence[Turn]) -> list[int]:
            return [len(part) + len(answer) for part, answer in self._parts(turns, record.system)]

        turns, limit = tuple(record.turns), self.max_seq_len - min(longest, MIN_RESPONSE_LEN)
        lens = exchange_lens(turns)
        whole = total = sum(lens) + image_tokens
        kept = list(range(len(lens)))
        droppable = [n for n in kept[:-1] if MARKER not in turns[2 * n].text]
        # Lengths tell how many exchanges must go, so that the prompt is not tokenised again for each of them.
        estimate = total
        for dropped in droppable if total > limit else ():
            was_first = dropped == kept[0]
            kept.remove(dropped)
            estimate -= lens[dropped]
            if was_first:  # the next one opens the prompt now
                opens = kept[0]
                asked = exchange_lens(turns[2 * opens : 2 * opens + 1])[0]
                estimate += asked + self._answer_len(turns, opens) - lens[opens]
                lens[opens] = asked + self._answer_len(turns, opens)
            if estimate <= limit:
                rest = tuple(turn for n in kept for turn in turns[2 * n : 2 * n + 2])
                total = sum(exchange_lens(rest)) + image_tokens
                if total <= limit:
                    return rest, total
        if total <= limit:
            return turns, total
        raise TooLongError(
            f"the prompt takes {estimate} tokens, {sum(image_lens)} of them of {len(image_lens)} image(s); "
            f"expected at most {limit} so that an answer fits; raise --max_seq_len, lower --max_pixels where the "
            "family has it, or shorten the record",
            needed=whole + longest,
        )

    def _answer_len(self, turns: Sequence[Turn], exchange: int) -> int:
        return len(self._earlier_ids(turns[2 * exchange + 1].text)) if 2 * exchange + 1 < len(turns) else 0


def _check_texts(record: Record) -> None:
    """Raises DataError where a text can't be written as UTF-8, which tokenizers need."""
    named = [(f"turn {place}", turn.text) for place, turn in enumerate(record.turns)]
    named += [(f"response {place}", text) for place, text in enumerate(record.responses)]
    for name, text in [*named, ("the system prompt", record.system)]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{name} holds {text[error.start]!r} at character {error.start}, half of a character (a lone "
                "surrogate); expected text that can be written as UTF-8; remove it or repair its escape"
            ) from None
