"""How a command of one process, beside the stages, starts and ends."""

import sys
from collections.abc import Callable
from typing import TypeVar

from .arguments import parse_args
from .ending import explain

Config = TypeVar("Config")


def run_command(main: Callable[[Config], None], config_class: type[Config]) -> None:
    """Runs a command. What ends it is said as for a stage: one line if it is for the user to mend."""
    config = parse_args(config_class)
    try:
        main(config)
    except (Exception, KeyboardInterrupt) as error:
        ending = explain(error)
        print(f"{ending.details}error: {ending.message}", file=sys.stderr)
        sys.exit(ending.status)
