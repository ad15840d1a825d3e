"""How a stage starts and ends."""

import io
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr
from typing import TypeVar

from . import dist
from .arguments import parse_args
from .checkpoint import AlreadyFinished
from .ending import explain
from .watch import join_watch

Config = TypeVar("Config")


def run_stage(main: Callable[[Config], None], config_class: type[Config]) -> None:
    """Runs a stage from the command line.

    Whatever ends one process ends all, with one message: with exit status 2 if it is for the user to mend, else 1.
    """
    is_first = os.environ.get("RANK", "0") == "0"  # all have the same command line
    with nullcontext() if is_first else redirect_stderr(io.StringIO()):
        config = parse_args(config_class)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for noisy in ("DeepSpeed", "httpx", "transformers", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    dist.init_distributed(config.seed)
    if not dist.is_main():
        logging.disable(logging.WARNING)
    watch = join_watch(config.max_silence_s)
    try:
        main(config)
    except AlreadyFinished as finished:
        if dist.is_main():
            print(finished, flush=True)
    except (Exception, KeyboardInterrupt) as error:
        watch.fail(explain(error))
    watch.close()
    dist.shutdown()
