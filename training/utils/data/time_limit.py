"""A limit to time and memory of a program that somebody else wrote."""

import json
import os
import resource
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MEMORY_BYTES = 1 << 30  # that it may take on top of what is there

# No other thread is in the middle of such a program, which may hold a lock, when one is started.
_one_at_a_time = threading.Lock()


class Failed(Exception):
    """It ended with an error; the message is its own."""


class OutOfTime(Exception):
    """It took longer than it may."""


def run_within(seconds: float, function: Callable[[], str]) -> str:
    """What `function` gives, worked out by a fork of this process, which can be ended whatever it does.

    Raises:
        OutOfTime: it took longer.
        Failed: it raised an error, of whatever kind, or its process was ended.
    """
    reader, writer = os.pipe()
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the fork has no need of other threads
        process = os.fork()
    if not process:
        _answer(function, writer)
    os.close(writer)
    try:
        told = _read(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    outcome = json.loads(told or '{"error": "its process was ended"}')
    if "error" in outcome:
        raise Failed(outcome["error"])
    return outcome["result"]


def _answer(function: Callable[[], str], writer: int) -> None:
    """In the fork: never returns."""
    try:
        here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (here + MEMORY_BYTES, resource.RLIM_INFINITY))
        outcome = {"result": function()}
    except BaseException as error:  # whatever it is, this process ends here
        outcome = {"error": str(error) or type(error).__name__}
    told = json.dumps(outcome).encode()
    while told:
        told = told[os.write(writer, told) :]
    os._exit(0)


def _read(reader: int, until: float) -> bytes:
    told = bytearray()
    while select.select([reader], [], [], max(until - time.monotonic(), 0))[0]:
        if not (part := os.read(reader, 1 << 16)):
            return bytes(told)
        told += part
    raise OutOfTime
