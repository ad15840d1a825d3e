"""Records, read when they are asked for. `entries.py` finds the entries of files, `reader.py` makes each a record."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from .entries import Entries
from .facts import FACTS
from .reader import Reader
from .record import Record

MOST_HELD_OUT = 2000  # records: more would tell little more, and are better learned from


class Records(Sequence[Record]):
    """The records at some places of some entries, each read when it is asked for. Slices are views."""

    def __init__(self, entries: Entries, reader: Reader, places: np.ndarray, facts: np.ndarray) -> None:
        """
        Args:
            places: of the records in the entries, [N].
            facts: `Facts` of each, [N, F].
        """
        self.entries = entries
        self.reader = reader
        self.places = places
        self.facts = facts

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, which: int) -> Record: ...
    @overload
    def __getitem__(self, which: slice) -> "Records": ...
    def __getitem__(self, which):
        """
        Raises:
            DataError: the entry was a record when it was checked, and is none any more.
        """
        if isinstance(which, slice):
            return self.select(np.arange(len(self))[which])
        return self.reader.read(self.entries, int(self.places[which]))

    def select(self, which: Sequence[int] | np.ndarray) -> "Records":
        """The records at these places among these, in their order."""
        which = np.asarray(which, dtype=np.int64)
        return Records(self.entries, self.reader, self.places[which], self.facts[which])

    def where(self, number: int) -> str:
        """ "file[index]" of a record."""
        return self.entries.where(int(self.places[number]))

    def of(self, fact: str) -> np.ndarray:
        """One fact of each record, [N]."""
        return self.facts[:, FACTS.index(fact)]

    @property
    def num_images(self) -> np.ndarray:
        """Pictures of each record, [N]."""
        return self.of("images")

    @property
    def has_images(self) -> bool:
        return bool(self.num_images.any())

    @property
    def folders(self) -> list[Path]:
        """The folders that pictures are named from, each once."""
        named = self.reader.image_folder
        folders = [Path(named)] if named else [shard.folder for shard in self.entries.shards]
        return list(dict.fromkeys(folders))

    @property
    def sources(self) -> np.ndarray:
        """Which of the paths that were given each record is from, from 0: [N]."""
        ends = np.cumsum([len(shard.rows) for shard in self.entries.shards])
        shards = np.searchsorted(ends, self.places, side="right")
        return np.array([shard.source for shard in self.entries.shards])[shards]


def have_images(records: Sequence[Record]) -> bool:
    """Whether any of some records has a picture."""
    return records.has_images if isinstance(records, Records) else any(record.images for record in records)


def draw(num_entries: int, samples: int | None, seed: int) -> np.ndarray:
    """Places of entries: all, or as many as asked for at random, in their order."""
    if samples is None or samples >= num_entries:
        return np.arange(num_entries)
    return np.array(sorted(random.Random(seed).sample(range(num_entries), samples)))


def split(records: Records, ratio: float, seed: int) -> tuple[Records, Records]:
    """A share `ratio` of the records to train on, and the rest, at most `MOST_HELD_OUT`; drawn by the seed."""
    order = random.Random(seed).sample(range(len(records)), len(records))
    num_train = max(1, round(ratio * len(records)), len(records) - MOST_HELD_OUT)
    return records.select(sorted(order[:num_train])), records.select(sorted(order[num_train:]))
