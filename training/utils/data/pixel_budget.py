"""How much threads decode at once: a few small files can be pictures of a gigabyte each."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Pixels that all threads of a process hold decoded at once; who wants more waits."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # threads that would give back stay behind

    def _reset(self) -> None:
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Takes a number of pixels, at most the total, for a while."""
        pixels = min(pixels, self.total)
        with self._changed:
            self._changed.wait_for(lambda: self._taken + pixels <= self.total)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()
