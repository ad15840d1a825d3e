"""How a stage starts and ends."""

import logging
import sys
from collections.abc import Callable
from typing import TypeVar

from . import dist
from .arguments import parse_args
from .checkpoint import AlreadyFinished
from .data.record import DataError
from .engine import NonFiniteLoss

Config = TypeVar("Config")


def run_stage(main: Callable[[Config], None], config_class: type[Config]) -> None:
    """Runs a stage from the command line. Bad input ends it with one message and exit status 2."""
    config = parse_args(config_class)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for noisy in ("DeepSpeed", "httpx", "transformers", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    dist.init_distributed(config.seed)
    if not dist.is_main():
        logging.disable(logging.WARNING)
    try:
        main(config)
    except AlreadyFinished as finished:
        if dist.is_main():
            print(finished, flush=True)
    except (DataError, NonFiniteLoss) as error:
        if dist.is_main():
            print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    finally:
        dist.shutdown()
