"""The processes of a run watch each other: what ends one of them ends all, with one message.

A thread of each process holds a line to a thread of the main process. A failure is told over it, and the main process
prints it. A process that was killed shows by its line being cut, one that was stopped or whose machine is gone by its
silence; what the main threads do meanwhile, and for how long, does not matter.
"""

import json
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection, wait

from . import dist
from .ending import Ending
from .launchers import is_alive, launchers
from .leave import leave, tell
from .lines import connect_processes
from .progress import progress
from .stop import requests

BEAT_S = 1.0
GRACE_S = 1.0  # in which other processes may report the same failure
LEAVE_S = 40.0  # that a failing process waits for the others at most
BEAT, DONE = b"beat", b"done"  # other messages are failures, as JSON


class Watch:
    """Before the processes know each other: each ends for itself."""

    def fail(self, ending: Ending) -> None:
        """Tells what went wrong, and ends all processes. Does not return."""
        tell(ending)
        dist.shutdown()
        sys.exit(ending.status)

    def close(self) -> None:
        """This process has done all it should."""


def join_watch(max_silence_s: float) -> Watch:
    """Starts to watch the other processes of the run. All processes must call it.

    Args:
        max_silence_s: after this time without a sign a process counts as gone.
    """
    if dist.world_size() == 1:
        return Alone()
    lines = connect_processes()
    if lines is None:
        return Unwatched()
    return (Main if dist.is_main() else Other)(lines, max_silence_s)


class Alone(Watch):
    """One process: a thread sees whether the main thread moves."""

    def __init__(self) -> None:
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def _run(self) -> None:
        while not (ending := hang()):
            time.sleep(BEAT_S)
        tell(ending, dist.rank() if dist.world_size() > 1 else None)
        leave(ending.status)


class Unwatched(Alone):
    """Processes that can't reach each other: each tells its own failure."""

    def fail(self, ending: Ending) -> None:
        tell(ending, dist.rank())
        leave(ending.status)


class Watched(Watch):
    """What the main process and the others have in common: a thread that listens, and speaks once a second."""

    def __init__(self, lines: dict[int, Connection], max_silence_s: float) -> None:
        self.lines = lines  # by process
        self.max_silence_s = max_silence_s
        # Counted, not timed: a process that was stopped itself blames no other.
        self.silent_beats = dict.fromkeys(lines, 0)
        self.endings: dict[int, Ending] = {}  # by process, in the order they came
        self.done: set[int] = set()
        self.closing = False
        self.launchers = launchers()
        self.beats_alone = 0  # since one of them has gone
        self.speaking = threading.Lock()
        self.thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.thread.start()

    def fail(self, ending: Ending) -> None:
        # The launcher ends all processes as soon as it has seen one end.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.endings[dist.rank()] = ending
        self.thread.join(LEAVE_S)  # it ends the program
        tell(ending, dist.rank())
        leave(ending.status)

    def close(self) -> None:
        """Waits until all processes have done what they should, or one fails."""
        self.closing = True
        for number in list(self.lines):
            self._send(number, DONE)
        self.thread.join()

    def _run(self) -> None:
        next_beat = time.monotonic()
        while not (self.closing and self.done >= self.silent_beats.keys()):
            self._hear(max(next_beat - time.monotonic(), 0))
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + BEAT_S
                self._beat()
            self._judge()

    def _hear(self, timeout_s: float) -> None:
        numbers = {line: number for number, line in self.lines.items()}
        if not numbers:
            time.sleep(timeout_s)
            return
        for line in wait(list(numbers), timeout_s):
            number = numbers[line]
            try:
                message = line.recv_bytes()
            except (OSError, EOFError):
                del self.lines[number]
                if self.closing:
                    self.done.add(number)
                elif number not in self.done and number not in self.endings:
                    self._lose(number, "ended without a word: it was killed, perhaps because memory ran out")
                continue
            self.silent_beats[number] = 0
            if message == DONE:
                self.done.add(number)
            elif message != BEAT:
                self._take(number, Ending(**json.loads(message)))

    def _beat(self) -> None:
        for number in list(self.lines):
            self.silent_beats[number] += 1
            if self.silent_beats[number] * BEAT_S > self.max_silence_s:
                del self.lines[number]
                self._lose(
                    number,
                    f"has given no sign of life for {self.max_silence_s:g} s: it or its machine hangs or was stopped",
                )
            else:
                self._send(number, BEAT)
        if ending := hang():
            self.endings.setdefault(dist.rank(), ending)
        self.beats_alone += not all(map(is_alive, self.launchers))
        # Who ends a launcher may just be asking the processes to stop, too.
        if self.beats_alone > 1 and not requests.name:
            self.endings.setdefault(dist.rank(), Ending("the launcher of this run was killed", 1))

    def _send(self, number: int, message: bytes) -> None:
        with self.speaking, suppress(OSError, KeyError):  # who has gone is noticed by listening
            self.lines[number].send_bytes(message)

    def _take(self, number: int, ending: Ending) -> None:
        """Another process tells that it fails."""
        raise NotImplementedError

    def _lose(self, number: int, how: str) -> None:
        """Another process is gone."""
        raise NotImplementedError

    def _judge(self) -> None:
        """Ends this process if something has failed."""
        raise NotImplementedError


class Main(Watched):
    """The main process hears of all failures, prints the one that counts, and sends all others home."""

    def __init__(self, lines: dict[int, Connection], max_silence_s: float) -> None:
        self.lost: dict[int, Ending] = {}
        super().__init__(lines, max_silence_s)

    def _take(self, number: int, ending: Ending) -> None:
        self.endings[number] = ending

    def _lose(self, number: int, how: str) -> None:
        self.lost[number] = Ending(f"process {number} of {dist.world_size()} {how}", 1)

    def _judge(self) -> None:
        if not self.endings and not self.lost:
            return
        until = time.monotonic() + GRACE_S
        while not self.lost and len(self.endings) < dist.world_size() and time.monotonic() < until:
            self._hear(max(until - time.monotonic(), 0))
        causes = {number: ending for number, ending in self.endings.items() if not ending.is_echo}
        if causes or not self.lost:
            number, ending = next(iter((causes or self.endings).items()))
            is_common = len(causes) == dist.world_size() and len({f.message for f in causes.values()}) == 1
            tell(ending, None if is_common else number)
        else:
            ending = next(iter(self.lost.values()))
            tell(ending)
        for number in self.lines:
            self._send(number, json.dumps(asdict(ending)).encode())
        until = time.monotonic() + LEAVE_S / 2
        while self.lines and time.monotonic() < until:
            self._hear(BEAT_S)
        leave(ending.status)


class Other(Watched):
    """Any other process tells the main one what fails here, and goes when that says so."""

    def __init__(self, lines: dict[int, Connection], max_silence_s: float) -> None:
        self.told = False
        super().__init__(lines, max_silence_s)

    def _take(self, number: int, ending: Ending) -> None:
        leave(ending.status)

    def _lose(self, number: int, how: str) -> None:
        own = self.endings.get(dist.rank())
        if own and not own.is_echo:
            tell(own, dist.rank())
        elif dist.rank() == 1:  # one is enough
            tell(Ending(f"process {number} of {dist.world_size()} {how}", 1))
        leave(own.status if own else 1)

    def _judge(self) -> None:
        if self.endings and not self.told:
            self.told = True
            self._send(0, json.dumps(asdict(self.endings[dist.rank()])).encode())


def hang() -> Ending | None:
    """That the main thread has stopped moving, if it has."""
    if not (found := progress.stuck()):
        return None
    where, waits = found
    message = (
        f"no step was made for {progress.max_s / 60:g} minutes: it waits for ever, perhaps for a disk; if steps take "
        "so long, raise --max_step_minutes"
    )
    return Ending(message, 1, where, is_echo=waits)
