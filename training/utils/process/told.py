"""An error whose message says what happened, where, and the cure: whoever sees it needs no traceback."""


class Told(RuntimeError):
    status = 1  # of the program that it ends
