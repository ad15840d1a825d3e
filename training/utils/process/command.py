"""How a command of one process, beside the stages, starts and ends."""

import sys
from collections.abc import Callable

from ..config.arguments import parse_all
from ..files.outputs import require_writable
from .ending import explain


def run_command(main: Callable[..., int | None], *config_classes: type) -> None:
    """Runs a command. What ends it is said as for a stage: one line if it is for the user to mend.

    Args:
        main: takes a configuration of each class; what it returns is the exit status.
        config_classes: its flags.
    """
    configs = parse_all(config_classes)
    try:
        for config in configs:
            require_writable(config)
        status = main(*configs)
    except (Exception, KeyboardInterrupt) as error:
        ending = explain(error)
        print(f"{ending.details}error: {ending.message}", file=sys.stderr)
        status = ending.status
    if status:
        sys.exit(status)
