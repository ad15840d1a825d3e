"""Waiting for what others do."""

import time
from collections.abc import Callable


def comes_true(condition: Callable[[], bool], within_s: float, look_s: float) -> bool:
    """Whether a condition holds now, or at one of the looks of some seconds."""
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(look_s)
    return True
