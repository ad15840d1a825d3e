"""A limit to the time of a piece of Python that somebody else wrote, in whichever thread it runs."""

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

AGAIN_S = 1.0  # what runs may have lost an exception that came from nowhere

Result = TypeVar("Result")


class OutOfTime(Exception):
    """It took longer than it may."""


def run_within(seconds: float, function: Callable[[], Result]) -> Result:
    """What `function` gives, or OutOfTime, raised wherever its Python is after this time.

    Python's own signals reach the main thread alone, and a thread can't be ended from outside; so another one has the
    interpreter raise the exception there. It comes between two instructions: one that takes for ever is not ended.
    """
    thread, done, is_over = ctypes.c_ulong(threading.get_ident()), threading.Event(), [False]
    raise_there = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch() -> None:
        left = seconds
        while not done.wait(left) and not is_over[0]:
            raise_there(thread, ctypes.py_object(OutOfTime))
            left = AGAIN_S

    watcher = threading.Thread(target=watch, name="time limit", daemon=True)
    watcher.start()
    try:
        return function()
    finally:
        # The interpreter raises the exception at calls and jumps alone, so none can keep this line from running. From
        # here on at most one more comes, if the watcher was just at it: out of the next lines, or it is taken back.
        is_over[0] = True
        done.set()
        watcher.join()
        raise_there(thread, None)
