"""The look at one record, and at many: everything that can fail for a record fails here, before a model is loaded."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

from ..process import dist
from .encode import Encoder
from .entries import Entries
from .facts import FACTS, Facts
from .failures import Failure, failure
from .images import image_size, verify
from .reader import Reader
from .record import Record

CHUNK = 1_000  # entries that a worker looks at before it reports
Seen = TypeVar("Seen")


@dataclass
class Verdict:
    """Which entries are records, and what is known of each."""

    places: np.ndarray  # of the records in the entries, [N]
    facts: np.ndarray  # `Facts` of each, [N, F]
    failures: list[Failure]

    def of(self, name: str) -> np.ndarray:
        """One fact of each record, [N]."""
        return self.facts[:, FACTS.index(name)]


@dataclass(frozen=True)
class Inspector:
    """Looks at one record: its pictures, and whether prompt and responses can be encoded."""

    encoder: Encoder | None = None  # none: the texts are not looked at
    verify_images: str = "full"  # or "header", "none"
    exact: bool = False  # tokens are counted, not only bounded

    def __call__(self, record: Record) -> Facts:
        """
        Raises:
            DataError: the record can't be used.
        """
        if self.verify_images == "full":
            for image in record.images:
                verify(image)
        if self.verify_images == "none" and self.encoder is None:
            return Facts(images=len(record.images))
        sizes = [image_size(image) for image in record.images]  # the header says it, if it is sound
        return self.encoder.inspect(record, sizes, self.exact) if self.encoder else Facts(images=len(sizes))


def look(
    entries: Entries, places: np.ndarray, reader: Reader, inspector: Inspector, num_workers: int
) -> Verdict:
    """Reads the entries at these places and looks at each record, in so many processes."""

    def look_at(chunk: np.ndarray) -> Verdict:
        return _look(entries, chunk, reader, inspector)

    found = list(share_out(look_at, places, num_workers))
    return Verdict(
        np.concatenate([part.places for part in found]) if found else np.zeros(0, np.int64),
        np.concatenate([part.facts for part in found]) if found else np.zeros((0, len(FACTS)), np.int32),
        [each for part in found for each in part.failures],
    )


def _look(entries: Entries, places: np.ndarray, reader: Reader, inspector: Inspector) -> Verdict:
    good, facts, failures = [], [], []
    for place in map(int, places):
        seen = attempt(entries, place, reader, inspector)
        if isinstance(seen, Failure):
            failures.append(seen)
        else:
            facts.append([getattr(seen, name) for name in FACTS])
            good.append(place)
    return Verdict(
        np.array(good, np.int64), np.array(facts, np.int32).reshape(len(good), len(FACTS)), failures
    )


def attempt(entries: Entries, place: int, reader: Reader, see: Callable[[Record], Seen]) -> Seen | Failure:
    """What `see` gives for the record at a place, or why there is nothing to see."""
    name = None
    try:
        record = reader.read(entries, place)
        name = record.id
        return see(record)
    except Exception as error:  # whatever an odd entry brings about is one failure, with its place
        return failure(entries.where(place), name or _name(entries, place), error)


def _name(entries: Entries, place: int) -> object:
    """The id that an entry gives itself, if there is so much to read."""
    try:
        entry = entries[place]
    except ValueError:
        return None
    return entry.get("id") if isinstance(entry, dict) else None


_job: Callable[[np.ndarray], object] | None = (
    None  # what the forked workers do: inherited, so nothing is pickled
)


def share_out(job: Callable[[np.ndarray], Seen], places: np.ndarray, num_workers: int) -> Iterator[Seen]:
    """What the job gives for each chunk of the places, in their order; by workers where that pays."""
    global _job
    chunks = [places[first : first + CHUNK] for first in range(0, len(places), CHUNK)]
    num_workers = min(num_workers, len(chunks))
    shown = tqdm(
        total=len(chunks), unit="k records", desc="check", disable=len(chunks) < 20 or not dist.is_main()
    )
    with shown:
        if num_workers < 2:
            for chunk in chunks:
                yield job(chunk)
                shown.update()
            return
        _job = job
        try:
            with multiprocessing.get_context("fork").Pool(num_workers, _begin) as pool:
                for seen in pool.imap(_do, chunks):
                    yield seen
                    shown.update()
        finally:
            _job = None


def _begin() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)  # as many processes as cores; and a forked thread pool would hang


def _do(chunk: np.ndarray) -> object:
    return _job(chunk)
