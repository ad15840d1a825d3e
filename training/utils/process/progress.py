"""Whether the main thread moves: it leaves marks where it should pass often, and another thread looks at them."""

import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

COMMUNICATION = ("torch/distributed/", "deepspeed/comm/")
WAITING_S = 5.0  # that a process which waits for others blames them later: the one that hangs speaks first


class Progress:
    def __init__(self) -> None:
        self.max_s = 0.0  # between two marks; 0: nothing is expected
        self.marked_s = 0.0

    def mark(self) -> None:
        self.marked_s = time.monotonic()

    @contextmanager
    def expected(self, max_s: float) -> Iterator[None]:
        """Within it a mark should follow the one before after `max_s` at the latest; 0: whenever."""
        self.mark()
        self.max_s = max_s
        try:
            yield
        finally:
            self.max_s = 0.0

    def stuck(self) -> tuple[str, bool] | None:
        """Where the main thread is, if it should have moved on: its stack, and whether it waits for other processes.

        No source line is read: the disk may be what hangs.
        """
        late_s = time.monotonic() - self.marked_s - self.max_s
        if not self.max_s or late_s < 0:
            return None
        frame = sys._current_frames()[threading.main_thread().ident]
        stack = [(at.f_code.co_filename, line, at.f_code.co_name) for at, line in traceback.walk_stack(frame)]
        waits = any(part in file for file, *_ in stack for part in COMMUNICATION)
        if waits and late_s < WAITING_S:
            return None
        lines = [f'  File "{file}", line {line}, in {name}\n' for file, line, name in stack]
        return "Its main thread is here (most recent call first):\n" + "".join(lines), waits


progress = Progress()
