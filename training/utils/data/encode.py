"""From a record to token ids: a prompt with its images expanded, and its responses as branches."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from PIL import Image

from ..model.image_settings import is_scaled
from .facts import Facts
from .features import Features, Vision
from .images import open_image
from .record import Picture, Record
from .text_encoder import TextEncoder
from .tree import Response, Tree


class Encoder(TextEncoder):
    """Turns records into trees of token ids.

    Args:
        pixel_dtype: precision that pictures travel in from where they are collated.
        more: as of `TextEncoder`.

    Attributes:
        features: what pictures are read as in place of their pixels, if anything.
    """

    features: Features | None = None

    def __init__(self, *args: Any, pixel_dtype: torch.dtype = torch.float32, **more: Any) -> None:
        super().__init__(*args, **more)
        self.pixel_dtype = pixel_dtype

    @cached_property
    def fingerprint(self) -> str:
        """What changes when records would be encoded in another way."""
        parts = [
            self.tokenizer.backend_tokenizer.to_str(),
            self.processor.to_json_string(),
            repr(self.template),
            type(self.family).__name__,
            str(sorted(self.vocabulary.word_ids)),
            str(self.max_seq_len),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def encode(self, record: Record) -> Tree:
        """The tree of a record: the prompt once, then each response as a branch, cut to `max_seq_len`."""
        vision, expansions = self.look_at(record.images)
        fit = self.fit(record, [len(ids) for ids in expansions])
        ids, learned = self.prompt_ids(fit.turns, expansions, record.system)
        scores = record.scores or [math.nan] * len(record.responses)
        responses = []
        for text, kept, score in zip(record.responses, fit.response_lens, scores, strict=True):
            response = self.response_ids(text)
            whole = len(response) == kept
            responses.append(Response(response[:kept], ended=whole, score=score, aspect=record.aspect))
        return Tree(
            id=record.id,
            prompt_ids=ids,
            prompt_learned=learned,
            responses=responses,
            vision=vision,
            record=record,
        )

    def look_at(self, pictures: Sequence[Picture]) -> Vision:
        """The tensors of the pictures of a prompt, and for each the token ids that its marker becomes."""

        def pixels(pictures: Sequence[Picture]) -> Vision:
            return self.family.image_inputs(self.processor, [open_image(picture) for picture in pictures])

        return self.features.read(pictures, pixels) if self.features else pixels(pictures)

    def encode_all(self, records: Sequence[Record]) -> list[Tree]:
        """A tree for each record."""
        return [self.encode(record) for record in records]

    def marked_ids(self, record: Record, sizes: Sequence[tuple[int, int]]) -> list[int]:
        """The prompt of `encode` with one marker for each picture, as an image's processor takes it.

        Args:
            sizes: width and height of each picture.
        """
        fit = self.fit(record, self.family.image_lens(self.processor, sizes))
        ids, _ = self.prompt_ids(fit.turns, [[self.marker_id]] * len(sizes), record.system)
        return ids

    def filler(self) -> Tree:
        """A blank picture that nothing is learned from."""
        vision, (ids,) = self.look_at([Image.new("RGB", (64, 64))])
        return Tree(id="", prompt_ids=ids, prompt_learned=[False] * len(ids), vision=vision, new_prompt=False)

    def inspect(self, record: Record, sizes: Sequence[tuple[int, int]], exact: bool = False) -> Facts:
        """What is known of a record before it is encoded; exact where it comes near `max_seq_len`.

        Args:
            sizes: width and height of each picture.
            exact: tokens are counted in any case, not guessed from above.

        Raises:
            DataError: the record can't be encoded, or its prompt and images leave no room for a response.
        """
        image_lens = self.family.image_lens(self.processor, sizes)
        facts = Facts(
            images=len(record.images),
            special=len(self.special_looking(record)),
            scaled=sum(is_scaled(self.processor, size) for size in sizes),
            aspect=record.aspect,
        )
        prompt, responses = (0, []) if exact else self.at_most(record, image_lens)
        if exact or prompt + max(responses, default=1) > self.max_seq_len:
            fit = self.fit(record, image_lens)
            prompt, responses = fit.prompt_len, fit.response_lens
            facts.responses_cut, facts.turns_dropped = fit.responses_cut, fit.turns_dropped
        if self.family.takes_trees:
            facts.longest = prompt + sum(responses)
        else:
            facts.rows, facts.longest = max(1, len(responses)), prompt + max(responses, default=0)
        return facts


def without_responses(record: Record) -> Record:
    """The record as a prompt to answer."""
    return replace(record, responses=(), scores=None)
