"""The records of an optimizer step as micro-batches that are alike in tokens, and equally many on each process.

Lengths are known before a run begins (`check.py`), so every process works out the cut of all of them by itself.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .records import Records

FINENESS = 64  # parts of the budget in which the smallest one that does is looked for


class Unit(NamedTuple):
    """Records that stay together: one, or those that are packed into a row."""

    records: list[int]
    rows: int  # that they take in a batch
    longest: int  # tokens of the longest of these rows
    pictured: bool


@dataclass(frozen=True)
class TokenBatches:
    """Cuts the records of a step into micro-batches of at most `max_tokens`, padding included.

    A record that is longer has a micro-batch of its own.
    """

    max_tokens: int
    rows: np.ndarray  # [N] of each record in a batch
    longest: np.ndarray  # [N] tokens of the longest of them
    pictured: np.ndarray  # [N] bool
    filler_len: int = 0  # tokens of the row that a micro-batch without a picture gets; 0: it gets none
    row_len: int = 0  # tokens of a row that several records are packed into; 0: none are

    @classmethod
    def of(
        cls, records: Records, max_tokens: int, filler_len: int, row_len: int, pictured_trees: int
    ) -> "TokenBatches":
        """
        Args:
            pictured_trees: trees that a stage makes of a record with pictures, in the place of one.
        """
        pictured = records.num_images > 0
        rows = records.of("rows") * np.where(pictured, pictured_trees, 1)
        return cls(
            max_tokens, rows, records.of("longest"), pictured, filler_len * bool(pictured.any()), row_len
        )

    @property
    def num_longer(self) -> int:
        """How many records are longer than the budget."""
        return int((self.rows * self.longest > self.max_tokens).sum())

    def shared_out(self, records: Sequence[int], num_processes: int) -> list[list[list[int]]]:
        """For each process its micro-batches as record numbers, the largest first; on all equally many.

        Those that processes compute on at the same time are of like size: under ZeRO-3 the largest holds up the rest.

        Args:
            records: those of a step; a multiple of the number of processes.
        """
        units = sorted(self._units(records), key=lambda unit: -unit.longest)
        number = -(-len(self._cut(units, self.max_tokens)) // num_processes) * num_processes
        budgets = [self.max_tokens * part // FINENESS for part in range(1, FINENESS + 1)]
        enough = bisect_left(budgets[:-1], True, key=lambda budget: len(self._cut(units, budget)) <= number)
        batches = self._cut(units, budgets[enough])
        while len(batches) < number:
            largest = max((batch for batch in batches if _divisible(batch)), key=self._size)
            batches.remove(largest)
            batches += self._halves(largest)
        batches.sort(key=self._size, reverse=True)
        numbers = [self._longest_first(batch) for batch in batches]
        return [numbers[rank::num_processes] for rank in range(num_processes)]

    def padded_size(self, records: Sequence[int]) -> int:
        """Tokens that a micro-batch of these records takes, with its padding and the row of a filler."""
        return self._size(self._units(records))

    def _cut(self, units: Sequence[Unit], budget: int) -> list[list[Unit]]:
        """Neighbours together, as many as the budget holds."""
        batches: list[list[Unit]] = []
        rows, pictured = 0, False
        for unit in units:  # the first of a batch is its longest
            rows, pictured = rows + unit.rows, pictured or unit.pictured
            if batches and self._padded(rows, batches[-1][0].longest, pictured) <= budget:
                batches[-1].append(unit)
            else:
                batches.append([unit])
                rows, pictured = unit.rows, unit.pictured
        return batches

    def _size(self, batch: Sequence[Unit]) -> int:
        longest = max(unit.longest for unit in batch)
        return self._padded(sum(unit.rows for unit in batch), longest, any(unit.pictured for unit in batch))

    def _padded(self, rows: int, longest: int, pictured: bool) -> int:
        if pictured or not self.filler_len:
            return rows * longest
        return (rows + 1) * max(longest, self.filler_len)

    def _units(self, records: Sequence[int]) -> list[Unit]:
        rows, longest, pictured = (
            each[records].tolist() for each in (self.rows, self.longest, self.pictured)
        )
        shapes = zip(records, rows, longest, pictured, strict=True)
        singles = [Unit([number], *shape) for number, *shape in shapes]
        return self._packed(singles) if self.row_len else singles

    def _packed(self, singles: Sequence[Unit]) -> list[Unit]:
        """Records in rows of `row_len` by first fit, the longest first, as `tree.pack` will find them."""
        rows: list[Unit] = []
        for unit in sorted(singles, key=lambda unit: -unit.rows * unit.longest):
            length = unit.rows * unit.longest
            place = next((p for p, row in enumerate(rows) if row.longest + length <= self.row_len), None)
            if place is None:
                rows.append(Unit(unit.records, 1, length, unit.pictured))
            else:
                row = rows[place]
                rows[place] = Unit(
                    row.records + unit.records, 1, row.longest + length, row.pictured or unit.pictured
                )
        return rows

    def _longest_first(self, batch: Sequence[Unit]) -> list[int]:
        """The records of a batch. Packed in this order they come into the same rows again."""
        numbers = [number for unit in batch for number in unit.records]
        return sorted(numbers, key=lambda number: -self.rows[number] * self.longest[number])

    def _halves(self, batch: list[Unit]) -> list[list[Unit]]:
        """A batch in two: by rows, or where it is one row by the records in it."""
        if len(batch) > 1:
            middle = len(batch) // 2
            return [batch[:middle], batch[middle:]]
        records = batch[0].records
        middle = len(records) // 2
        return [self._units(part) for part in (records[:middle], records[middle:])]


def _divisible(batch: Sequence[Unit]) -> bool:
    return sum(len(unit.records) for unit in batch) > 1
