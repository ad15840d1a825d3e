"""What now and then goes wrong with an answer: counted, and said where it can be seen and does not drown the log."""

import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)


class Counted:
    """
    Attributes:
        text: what is said, with `{bad}` of `{all}` answers.
        bad, all: how many there were so far, on this process.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.bad = self.all = 0

    def count(self, bad: Sequence[bool]) -> None:
        """Counts, and says so at the first that is bad and whenever there are twice as many."""
        before = self.bad
        self.bad += sum(bad)
        self.all += len(bad)
        if self.bad.bit_length() > before.bit_length():
            logger.warning(self.text.format(bad=self.bad, all=self.all))
