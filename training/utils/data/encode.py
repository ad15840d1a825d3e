"""From a record to token ids: a prompt with its images expanded, and its responses as branches."""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache

from PIL import Image

from ..model.family import Family
from .DST import get_template
from .facts import Facts
from .images import open_image
from .record import MARKER, DataError, Record, Turn
from .segments import Piece
from .tree import Response, Tree

MIN_RESPONSE_LEN = 16  # tokens that a response keeps before turns of the prompt are dropped for room


class Encoder:
    """Turns records into trees of token ids.

    Prompt and response are tokenised apart, so no merge crosses their border and a prompt has the same ids
    in training as in generation. Special tokens come from the template only: one that stands in a user's
    words is read as plain characters.
    """

    def __init__(self, processor, family: Family, template_name: str, max_seq_len: int) -> None:
        self.tokenizer = processor.tokenizer
        self.processor = processor
        self.family = family
        self.template_name = template_name
        self.template = get_template(template_name, processor)
        self.max_seq_len = max_seq_len
        image_tokens = [family.image_token(processor), family.marker(processor)]  # in most families the same
        self.image_id, self.marker_id = self.tokenizer.convert_tokens_to_ids(image_tokens)
        specials = {
            i: token.content for i, token in self.tokenizer.added_tokens_decoder.items() if token.special
        }
        self._specials = re.compile("|".join(map(re.escape, {*specials.values(), *image_tokens})))
        self._segment_ids = lru_cache(maxsize=100_000)(self._segment_ids)  # prompts and answers often recur
        self.end_id = self.response_ids("x")[-1]  # the token that ends an answer
        if self.end_id not in specials:
            end = self.template.answer("")[-1].text
            raise DataError(
                f"--template {template_name}: its end of turn {end!r} is no special token of this checkpoint's "
                "tokenizer, so no answer would ever end; choose the template that the checkpoint was trained with"
            )
        self.stop_ids = {self.end_id, self.tokenizer.eos_token_id}
        self.structural_ids = {
            *self.tokenizer.all_special_ids,
            self.image_id,
            self.marker_id,
        }  # never part of an answer's words
        opening = self.tokenizer("").input_ids
        self._bos = opening[:1] if opening and opening[0] == self.tokenizer.bos_token_id else []

    @cached_property
    def fingerprint(self) -> str:
        """What changes when records would be encoded in another way."""
        parts = [
            self.tokenizer.backend_tokenizer.to_str(),
            self.processor.to_json_string(),
            str(getattr(self.processor, "chat_template", "")),
            type(self.family).__name__,
            self.template_name,
            str(self.max_seq_len),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    # -- records ------------------------------------------------------------------------------------

    def encode(self, record: Record) -> Tree:
        """The tree of a record: the prompt once, then each response as a branch, cut to `max_seq_len`."""
        images = [open_image(image) for image in record.images]
        vision, expansions = self.family.image_inputs(self.processor, images)
        responses = [self.response_ids(text) for text in record.responses]
        wanted = min(max(map(len, responses), default=0), MIN_RESPONSE_LEN)
        ids, learned = self._fit_prompt(record, expansions, wanted)
        room = self.max_seq_len - len(ids)
        scores = record.scores or [math.nan] * len(responses)
        return Tree(
            id=record.id,
            prompt_ids=ids,
            prompt_learned=learned,
            responses=[
                Response(response[:room], ended=len(response) <= room, score=score)
                for response, score in zip(responses, scores, strict=True)
            ],
            vision=vision,
            record=record,
        )

    def encode_all(self, records: Sequence[Record]) -> list[Tree]:
        """A tree for each record."""
        return [self.encode(record) for record in records]

    def filler(self) -> Tree:
        """A blank picture that nothing is learned from."""
        vision, (ids,) = self.family.image_inputs(self.processor, [Image.new("RGB", (64, 64))])
        return Tree(id="", prompt_ids=ids, prompt_learned=[False] * len(ids), vision=vision, new_prompt=False)

    def inspect(self, record: Record, sizes: Sequence[tuple[int, int]]) -> Facts:
        """What is known of a record before it is encoded.

        Args:
            sizes: width and height of each picture.

        Raises:
            DataError: its prompt and images leave no room for a response.
        """
        expansions = [[self.image_id] * self.family.image_len(self.processor, size) for size in sizes]
        ids, _ = self._fit_prompt(record, expansions, 1)
        return Facts(images=len(record.images), tokens=len(ids))

    def prompt_ids(
        self, turns: Sequence[Turn], expansions: Sequence[list[int]], system: str = ""
    ) -> tuple[list[int], list[bool]]:
        """Token ids of a prompt, and which of them an earlier assistant turn produced."""
        prompts = self.template.prompts(turns, self.family.image_text(self.processor), system)
        answers = [turn.text for turn in turns if turn.role == "assistant"]
        ids: list[int] = []
        learned: list[bool] = []
        remaining = iter(expansions)
        for number, segment in enumerate(prompts):
            part = self._segment_ids(tuple(segment), opening=number == 0)
            if number == 0 and part[:1] != self._bos:
                part = self._bos + part
            part = [t for i in part for t in (next(remaining) if i == self.marker_id else [i])]
            answer = self.response_ids(answers[number]) if number < len(answers) else []
            ids += part + answer
            learned += [False] * len(part) + [True] * len(answer)
        return ids, learned

    def response_ids(self, text: str) -> list[int]:
        """Token ids of an answer with its end of turn."""
        return list(self._segment_ids(tuple(self.template.answer(text)), opening=False))

    def decode(self, response_ids: Sequence[int]) -> str:
        """The words of a response."""
        return self.tokenizer.decode(response_ids, skip_special_tokens=True).strip()

    # -- fitting into max_seq_len -------------------------------------------------------------------

    def _fit_prompt(self, record: Record, expansions, wanted: int) -> tuple[list[int], list[bool]]:
        """The prompt's ids, its oldest turns without images dropped until `wanted` tokens of room are left."""
        turns = record.turns
        while True:
            ids, learned = self.prompt_ids(turns, expansions, record.system)
            if len(ids) + wanted <= self.max_seq_len:
                return ids, learned
            droppable = [i for i in range(0, len(turns) - 1, 2) if MARKER not in turns[i].text]
            if not droppable:
                break
            turns = turns[: droppable[0]] + turns[droppable[0] + 2 :]
        num_image_tokens = sum(map(len, expansions))
        raise DataError(
            f"the prompt takes {len(ids)} tokens, {num_image_tokens} of them of "
            f"{len(expansions)} image(s); expected at most {self.max_seq_len - wanted} so that an answer fits; "
            "raise --max_seq_len, lower --max_pixels where the family has it, or shorten the record"
        )

    # -- text ---------------------------------------------------------------------------------------

    def _segment_ids(self, segment: tuple[Piece, ...], opening: bool) -> list[int]:
        """Token ids of a segment; `opening` where nothing stands before it.

        Structure and words are tokenised together, as the text of one string, unless the words hold what
        looks like a special token: then that stretch is tokenised apart, as characters.
        """
        runs: list[str] = [""]
        plain: set[int] = set()
        for piece in segment:
            if not piece.structure and self._looks_special(piece.text):
                plain.add(len(runs))
                runs += [piece.text, ""]
            else:
                runs[-1] += piece.text
        ids: list[int] = []
        for number, run in enumerate(runs):
            if run and opening and not ids:
                ids += self.tokenizer(
                    run, add_special_tokens=False, split_special_tokens=number in plain
                ).input_ids
            elif run:
                ids += self._continuation_ids(run, split_special_tokens=number in plain)
        return ids

    def _looks_special(self, text: str) -> bool:
        return self._specials.search(text) is not None

    def _continuation_ids(self, text: str, split_special_tokens: bool) -> list[int]:
        """Token ids of a text that follows other tokens.

        SentencePiece puts a space in front of whatever it is given. So the text is tokenised behind an anchor
        that no merge joins it to, and the anchor is taken off again.
        """
        anchor = "a" if text[0].isspace() else "\n"
        head = self.tokenizer(anchor, add_special_tokens=False).input_ids
        ids = self.tokenizer(
            anchor + text, add_special_tokens=False, split_special_tokens=split_special_tokens
        ).input_ids
        if ids[: len(head)] == head:
            return ids[len(head) :]
        return self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=split_special_tokens
        ).input_ids


def without_responses(record: Record) -> Record:
    """The record as a prompt to answer."""
    return replace(record, responses=(), scores=None)
