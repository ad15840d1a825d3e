"""Averages over all processes: sums and counts, added up where they arise and divided once."""

import torch
from torch import Tensor

from ..process import dist

Figures = dict[str, tuple[Tensor | float, Tensor | float]]  # name -> (sum, count)


class Tally:
    """Collects sums and counts. No process waits for another, or for its device, before `means`."""

    def __init__(self) -> None:
        self._totals: dict[str, list[Tensor]] = {}

    def add(self, figures: Figures) -> None:
        for name, pair in figures.items():
            totals = self._totals.setdefault(name, [torch.zeros((), dtype=torch.float64)] * 2)
            for place, value in enumerate(pair):
                totals[place] = totals[place] + torch.as_tensor(value).detach().double()

    def means(self) -> dict[str, float]:
        """The average of each figure over all processes; then starts anew. All processes must call it."""
        names = sorted({name for names in dist.gather_objects(sorted(self._totals)) for name in names})
        zero = torch.zeros((), dtype=torch.float64)
        totals = dist.sum_over_ranks(
            torch.stack([t.cpu() for name in names for t in self._totals.get(name, [zero, zero])])
            if names
            else torch.zeros(0)
        ).view(-1, 2)
        self._totals = {}
        return {
            name: float(total / count)
            for name, (total, count) in zip(names, totals, strict=True)
            if count > 0
        }
