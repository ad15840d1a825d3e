"""Requests to stop: signals that a scheduler, a launcher or a person sends.

While `deferred`, a request waits until the program asks for it; elsewhere it ends the program at once. A second one
ends the program at once everywhere, also where its main thread hangs. A scheduler signals every process of a job and
a launcher passes signals on, so what comes within `AGAIN_S` of the first is the same request.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
STATUS = 85  # of a program that was stopped, and goes on when it is started again; as HTCondor's checkpoint_exit_code
AGAIN_S = 2.0


class Stopped(BaseException):
    """The program was asked to stop. No part of it may take that for an error that it can pass over."""

    def __init__(self, message: str, by_all: bool = False) -> None:
        super().__init__(message)
        self.by_all = by_all  # every process raises it, after the same step


class Requests:
    """What this process was asked so far."""

    def __init__(self) -> None:
        self.name = ""  # of the first signal that asked to stop
        self.first_s = 0.0
        self.deferred = False

    def catch(self) -> None:
        """Listens to signals from now on. The main thread calls it, once."""
        for number in SIGNALS:
            # Shells and nohup have background programs ignore what is for the one in front.
            if signal.getsignal(number) is not signal.SIG_IGN or number in (signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, self._handle)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=leave_to_parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # as a launcher may have left them
        threading.Thread(target=self._listen, args=(reader,), name="signals", daemon=True).start()

    def ignore(self) -> None:
        """From now on all is done."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.name:
            return
        self.name = signal.Signals(number).name
        if not self.deferred:
            raise Stopped(f"{self.name} came before there was anything to save; to go on, start it again")

    def _listen(self, reader: int) -> None:
        """Told by the system itself: the main thread need not run."""
        while True:
            for number in os.read(reader, 64):
                if number not in SIGNALS:
                    continue
                now = time.monotonic()
                self.first_s = self.first_s or now
                if now - self.first_s > AGAIN_S:
                    print("stopped at once by a second signal", file=sys.stderr, flush=True)
                    os._exit(128 + number)


requests = Requests()


@contextmanager
def deferred() -> Iterator[Requests]:
    """Within it the program asks itself whether it should stop."""
    requests.deferred = True
    try:
        yield requests
    finally:
        requests.deferred = False


def until_stopped(items: Iterable[Item]) -> Iterator[Item]:
    """The items, for work of which each part is kept.

    Raises:
        Stopped: this process was asked to stop, between two items.
    """
    with deferred() as asked:
        for item in items:
            yield item
            if asked.name:
                raise Stopped(f"{asked.name} asked for it; what is done is kept; to go on, start it again")


def leave_to_parent() -> None:
    """In a process that is forked from this one to work for it: it ends when it is told to, and not before."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)


def outlive_signals(_worker: int) -> None:
    """In a worker of a data loader, which ends by a message: a step that is to be finished needs its records."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
