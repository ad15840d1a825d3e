"""One record in numbers: what statistics over all records are made of, measured by worker processes."""

import copy
import hashlib
import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from training.utils.data.encode import Encoder
from training.utils.data.entries import Entries
from training.utils.data.failures import Failure, failure
from training.utils.data.images import image_size, verify
from training.utils.data.look import attempt, share_out
from training.utils.data.reader import Reader
from training.utils.data.record import DataError, Picture, Record
from training.utils.model.image_settings import is_scaled

UNLIMITED = 1 << 40  # tokens: nothing is cut
BYTES = "bytes:"  # begins the names of pictures that have no file
SKETCH = 128  # pairs of words that a prompt is compared by
WORD = re.compile(
    r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W\u3040-\u30ff\u4e00-\u9fff]+"
)  # a word, or a character of CJK


@dataclass(frozen=True, slots=True)
class Measures:
    """What is known of a record; lengths in tokens, nothing cut."""

    place: int  # in the entries
    prompt_len: int  # image tokens included
    image_lens: tuple[int, ...]
    response_lens: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]  # width and height of each picture, pixels
    scaled: int  # pictures with more pixels than the processor keeps
    pictures: tuple[str, ...]  # a name of each, the same for the same file or bytes
    text: int  # the same for the same prompt, 64 bit
    word_pairs: np.ndarray  # of the prompt, as sorted distinct numbers of 32 bit
    first_words: tuple[str, ...]  # of each response
    answers: tuple[int, ...]  # of each response, the same where words are the same
    scores: tuple[float, ...] | None
    label: str | None
    special: tuple[str, ...] = ()  # what looks like a special token in somebody's words
    responses_cut: int = 0  # at --max_seq_len
    turns_dropped: int = 0  # at --max_seq_len
    refusal: str = ""  # why it is not used at --max_seq_len

    @property
    def need(self) -> int:
        """The --max_seq_len that it needs: its prompt with the longest response."""
        return self.prompt_len + max(self.response_lens, default=1)

    @property
    def row_len(self) -> int:
        """Tokens of its tree: the prompt and all responses."""
        return self.prompt_len + sum(self.response_lens)


@dataclass(frozen=True)
class Measurer:
    """Measures a record as a stage would encode it."""

    encoder: Encoder
    verify_images: str = "full"  # or "header", "none"

    def __call__(self, record: Record) -> Measures:
        """
        Raises:
            DataError: the record can't be used, whatever --max_seq_len is.
        """
        if self.verify_images != "none":
            for image in record.images:
                verify(image, self.verify_images)
        encoder, sizes = self.encoder, tuple(map(image_size, record.images))
        image_lens = tuple(encoder.family.image_len(encoder.processor, size) for size in sizes)
        whole = uncut(encoder).fit(record, image_lens)
        said = "\n".join([record.system, *(f"{turn.role}: {turn.text}" for turn in record.turns)])
        pictures = tuple(map(picture_name, record.images))
        answers = [words(text) for text in record.responses]
        measures = Measures(
            place=-1,
            prompt_len=whole.prompt_len,
            image_lens=image_lens,
            response_lens=whole.response_lens,
            sizes=sizes,
            scaled=sum(is_scaled(encoder.processor, size) for size in sizes),
            pictures=pictures,
            text=number(said),
            word_pairs=sketch(words(said)),
            first_words=tuple(each[0] if each else "" for each in answers),
            answers=tuple(number(" ".join(each)) for each in answers),
            scores=record.scores,
            label=record.label,
            special=tuple(encoder.special_looking(record)),
        )
        return measures if measures.need <= encoder.max_seq_len else self._fitted(record, measures)

    def _fitted(self, record: Record, measures: Measures) -> Measures:
        """With what of the record is lost at `max_seq_len`."""
        try:
            fit = self.encoder.fit(record, measures.image_lens)
        except DataError as error:
            return replace(measures, refusal=str(error))
        return replace(measures, responses_cut=fit.responses_cut, turns_dropped=fit.turns_dropped)


def measure(
    entries: Entries, places: np.ndarray, reader: Reader, measurer: Measurer, num_workers: int
) -> tuple[list[Measures], list[Failure]]:
    """The measures of the records at these places, and what is refused. A record that is too long is in both."""

    def look_at(chunk: np.ndarray) -> list[Measures | Failure]:
        return [_place(attempt(entries, at, reader, measurer), at) for at in map(int, chunk)]

    found, failures = [], []
    for seen in (each for part in share_out(look_at, places, num_workers) for each in part):
        if isinstance(seen, Failure):
            failures.append(seen)
            continue
        found.append(seen)
        if seen.refusal:
            where = entries.where(seen.place)
            failures.append(failure(where, reader.read(entries, seen.place).id, DataError(seen.refusal)))
    return found, failures


def _place(seen: Measures | Failure, place: int) -> Measures | Failure:
    return seen if isinstance(seen, Failure) else replace(seen, place=place)


def uncut(encoder: Encoder) -> Encoder:
    """The same encoder, for which nothing is too long."""
    other = copy.copy(encoder)
    other.max_seq_len = UNLIMITED
    return other


def picture_name(picture: Picture) -> str:
    """A name that differs from those of other pictures: the path, or a digest of the bytes."""
    if isinstance(picture, Path):
        return str(picture)
    content = picture if isinstance(picture, bytes) else picture.tobytes()  # as decoded
    return f"{BYTES}{hashlib.blake2b(content, digest_size=16).hexdigest()}"


def words(text: str) -> list[str]:
    """The words of a text, without case, punctuation and the ways that Unicode has to write one letter."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def number(text: str) -> int:
    """A number of 64 bits that stands for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def sketch(prompt: Sequence[str]) -> np.ndarray:
    """The neighbouring words of a prompt as numbers; of many those whose numbers are lowest, which is a fair draw."""
    pairs = {f"{a} {b}" for a, b in pairwise(prompt)} or {" ".join(prompt)}
    checksums = (zlib.crc32(pair.encode("utf-8", "replace")) for pair in pairs)
    numbers = np.fromiter(checksums, np.uint64, len(pairs))
    return np.unique(numbers * np.uint64(0x9E3779B1) & np.uint64(0xFFFFFFFF))[
        :SKETCH
    ]  # spread: sums lie close
