"""A command of the project as forks of this process, which has imported what commands need.

A start takes a second instead of ten. Everything else is as in a process of its own: the module runs under the name
`__main__`, with its own arguments, output and environment.
"""

import faulthandler
import os
import runpy
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import deepspeed  # noqa: F401  (so that no fork has to)
import torch
from tqdm import tqdm

import training.dpo.train_dpo
import training.ppo.train_ppo
import training.reward_model.train_rm
import training.sft.train_sft  # noqa: F401
from scripts.ranks import add_output_to, environment, free_port
from training.utils.files.lock import release

os.environ |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
torch.set_num_threads(1)  # threads do not survive a fork
tqdm.monitor_interval = 0  # the same
# tqdm's own lock is one for all forks: who is killed while its bar moves keeps it, and all others wait for ever.
tqdm.set_lock(threading.RLock())

LONGEST_S = 300.0  # of a start, and of survivors that should notice a death


class Job:
    """The processes of one start of a command."""

    def __init__(
        self,
        module: str,
        flags: Sequence[str],
        told: Path,
        processes: int = 1,
        before: Callable[[], None] | None = None,
    ) -> None:
        """
        Args:
            told: file that what the processes print is added to.
            before: is called in each process before the command.
        """
        self.told = told
        self.statuses: dict[int, int] = {}
        sys.stdout.flush()
        port = free_port()
        self.ranks = [self._fork(module, flags, rank, processes, port, before) for rank in range(processes)]

    def _fork(self, module, flags, rank, processes, port, before) -> int:
        if pid := os.fork():
            with suppress(ProcessLookupError):  # here too: who is killed at once may not have come to it
                os.setpgid(pid, pid)
            return pid
        status = 1
        try:
            os.setpgid(0, 0)
            add_output_to(self.told)
            faulthandler.dump_traceback_later(LONGEST_S - 10)  # where it hangs, before it is killed
            if processes > 1:
                os.environ |= environment(rank, processes, port)
            sys.argv[1:] = list(flags)
            if before:
                before()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
        release()  # the lock, as at the end of a program; what else is to be done then belongs to the parent
        with suppress(OSError):
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)

    def is_running(self) -> bool:
        for pid in self.ranks:
            if pid not in self.statuses and (found := os.waitpid(pid, os.WNOHANG)) != (0, 0):
                self.statuses[pid] = os.waitstatus_to_exitcode(found[1])
        return len(self.statuses) < len(self.ranks)

    def wait(self, seconds: float) -> bool:
        """Whether all processes have ended by then."""
        until = time.monotonic() + seconds
        while self.is_running() and time.monotonic() < until:
            time.sleep(0.005)
        return not self.is_running()

    def ended(self, seconds: float) -> bool:
        """Whether all processes reach their end by then; those that do not are killed."""
        done = self.wait(seconds)
        self.kill()
        return done and self.succeeded

    def kill(self, rank: int | None = None) -> None:
        """Kills one process, or all, with those that they have started."""
        for pid in self.ranks if rank is None else [self.ranks[rank]]:
            if pid not in self.statuses:
                os.killpg(pid, signal.SIGKILL)

    @property
    def succeeded(self) -> bool:
        return not self.is_running() and not any(self.statuses.values())

    def last_words(self) -> str:
        return self.told.read_text()[-1500:] if self.told.is_file() else ""
