"""How a stage starts and ends."""

import io
import logging
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from typing import Any, TypeVar

from ..checkpoint.background import saving
from ..checkpoint.claim import AlreadyFinished
from ..config.arguments import parse_args
from ..files.lock import NAME, hold
from ..files.outputs import outputs, require_writable
from ..files.shared_folder import require_shared
from . import dist
from .ending import explain
from .leave import tell
from .stop import Stopped, deferred, requests
from .watch import Watch, join_watch

Config = TypeVar("Config")
SAVE_S = 600.0  # that a process which fails goes on writing what it has begun to save
# The same where memory ran out: who starts a thread waits without end for one that has none to begin with
# (CPython's issue 140746).
SAVE_WITHOUT_MEMORY_S = 10.0


def run_stage(main: Callable[[Config], None], config_class: type[Config]) -> None:
    """Runs a stage from the command line.

    Whatever ends one process ends all, with one message: with exit status 2 if it is for the user to mend, 85
    if it was asked to stop, else 1.
    """
    is_first = os.environ.get("RANK", "0") == "0"  # all have the same command line
    with nullcontext() if is_first else redirect_stderr(io.StringIO()):
        config = parse_args(config_class)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for noisy in ("DeepSpeed", "httpx", "transformers", "PIL", "vllm"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    requests.catch()
    watch, status = Watch(), 0
    try:
        dist.init_distributed(config.seed)
        if not dist.is_main():
            logging.disable(logging.WARNING)
        watch = join_watch(config.max_silence_s)
        dist.from_main(lambda: _take_outputs(config))
        for locked in _locks(config):
            require_shared(locked.parent)
        main(config)
    except AlreadyFinished as finished:
        if dist.is_main():
            print(finished, flush=True)
    except (Exception, Stopped) as error:
        ending = explain(error)
        saving.settle(SAVE_WITHOUT_MEMORY_S if ending.no_memory else SAVE_S)
        if not ending.by_all:
            watch.fail(ending)
        status = ending.status
        if dist.is_main():
            tell(ending)
    with deferred():
        watch.close()
    requests.ignore()  # launchers end all processes as soon as they have seen one end
    dist.shutdown()
    if status:
        sys.exit(status)


def _take_outputs(config: Any) -> None:
    """Sees that a stage can write, and keeps others from writing there."""
    require_writable(config)
    for locked in _locks(config):
        hold(locked)


def _locks(config: Any) -> list[Path]:
    """Of the output that is a stage's work."""
    return [lock_file(kind, path) for kind, path in list(outputs(config).values())[:1]]


def lock_file(kind: str, path: Path) -> Path:
    """Of what a stage writes: a folder, or a file."""
    return path / NAME if kind == "folder" else path.with_name(f".{path.name}{NAME}")
