"""DeepSpeed's AdamW for optimizer states in CPU memory (arXiv 2101.06840): several times as fast as torch's there.

A compiler builds it in a minute or two, once for a processor: on a machine with a GPU when it is first wanted, else
by

    python -m training.utils.engine.cpu_adam
"""

import fcntl
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import torch

from ..process import dist
from ..process.command import run_command
from ..process.patience import comes_true
from .zero import deepspeed

NAME = "cpu_adam"  # as DeepSpeed calls it
BUILD_S = 600.0
LOOK_S = 0.2
BUILD = "from deepspeed.ops.op_builder import CPUAdamBuilder; CPUAdamBuilder().load(verbose=False)"


def build_folder() -> Path:
    """Where it is built: for these versions and this processor alone, which its code is made for."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    versions = (torch.__version__, version("deepspeed"), platform.python_version(), platform.machine())
    key = sha256(" ".join([*versions, flags]).encode()).hexdigest()[:12]
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepspeed_ops" / key


def is_built() -> bool:
    return (build_folder() / "built").is_file()


def build(limit_s: float = BUILD_S) -> str:
    """Builds it unless it is there.

    Returns:
        Why there is none; empty: there is.
    """
    folder, end = build_folder(), time.monotonic() + limit_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, limit_s) as lock:
            reason = "" if is_built() else _compile(folder, end - time.monotonic(), lock)
            if not reason:
                (folder / "built").touch()
            return reason
    except OSError as error:
        return str(error)


@contextmanager
def _alone(folder: Path, limit_s: float) -> Iterator[int]:
    """Where no other process builds or loads it, by a lock that ends with its process. What a killed one left, on
    which torch would wait for ever, is cleared away.

    Raises:
        TimeoutError: another one has it for too long.
    """
    with (folder / "lock").open("w") as lock:
        if not comes_true(lambda: _locked(lock.fileno()), limit_s, LOOK_S):
            raise TimeoutError(f"{folder}: another process has been building there for {limit_s:.0f} s")
        (folder / NAME / "lock").unlink(missing_ok=True)
        yield lock.fileno()


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _compile(folder: Path, limit_s: float, lock: int) -> str:
    """Builds and loads it in a process of its own, which has the lock too: it may outlive this one. What went wrong,
    or nothing."""
    print("DeepSpeed's CPUAdam is being built, once for this machine: minutes", flush=True)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", BUILD],
        env={**os.environ, "TORCH_EXTENSIONS_DIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        pass_fds=(lock,),
    )
    try:
        _, said = process.communicate(timeout=max(limit_s, 1))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the compiler with it
        process.wait()
        return f"building it took longer than {limit_s:.0f} s"
    return "" if process.returncode == 0 else (said.strip().splitlines() or ["it can not be built"])[-1]


@cache
def is_usable() -> bool:
    """Whether all processes have it; says on the main one which optimizer it will be. All processes must call it."""
    is_first, reason = os.environ.get("LOCAL_RANK", "0") == "0", ""
    if is_first and not torch.cuda.is_available() and not is_built():
        reason = "it is not built; python -m training.utils.engine.cpu_adam does so"
    elif is_first:
        reason = build()
    reasons = [why for why in dist.gather_objects(reason) if why]
    if dist.is_main():
        used = f"torch's AdamW, for want of DeepSpeed's CPUAdam: {reasons[0]}" if reasons else "CPUAdam"
        print(f"optimizer state in CPU memory, updated by {used}", flush=True)
    return not reasons


def build_cpu_adam(groups: list[dict], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """DeepSpeed's CPUAdam as AdamW (arXiv 1711.05101)."""
    folder = build_folder()
    with _alone(folder, BUILD_S), patch.dict(os.environ, TORCH_EXTENSIONS_DIR=str(folder)):
        return _cpu_adam_class()(groups, lr=lr, betas=betas)


@cache
def _cpu_adam_class() -> type[torch.optim.Optimizer]:
    deepspeed()
    from deepspeed.ops.adam import DeepSpeedCPUAdam

    class CPUAdam(DeepSpeedCPUAdam):
        """Its state is that of torch's AdamW, so that a run goes on with either."""

        def __setstate__(self, state):
            super().__setstate__(state)
            for group in self.param_groups:
                group.setdefault("bias_correction", True)

        def step(self, closure=None):
            for state in self.state.values():
                if "step" in state:
                    state["step"] = int(state["step"])
            loss = super().step(closure)
            for state in self.state.values():
                state["step"] = torch.tensor(float(state["step"]))
            return loss

    return CPUAdam


def main() -> int:
    """Builds it before the first run that needs it; the exit status."""
    if why := build():
        print(f"error: DeepSpeed's CPUAdam: {why}", file=sys.stderr)
        return 1
    print(f"DeepSpeed's CPUAdam is in {build_folder()}")
    return 0


if __name__ == "__main__":
    run_command(main)
