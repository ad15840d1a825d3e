"""Time and memory of trees against separate rows, `bench_cases.py`.

    python -m scripts.bench_trees

Times alternate in one process, fp32 on a CPU and bf16 on a GPU. Peak memory is that of one step in a process of its
own, above what models and optimizer hold before it.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from scripts.bench_cases import CASES
from training.utils.config.flags import flag, require
from training.utils.process.command import run_command

ON_GPU = torch.cuda.is_available()


def seconds(function: Callable[[], None]) -> float:
    started = time.perf_counter()
    function()
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def resident_mib(field: str) -> float:
    """VmRSS (now) or VmHWM (the most so far) of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def print_peak(make: Callable[[], Callable[[], None]]) -> None:
    step = make()
    step()  # the optimizer's state is there from now on
    if ON_GPU:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        print((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    before = resident_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again (Linux)
    step()
    print(resident_mib("VmHWM") - before)


def peak_mib(name: str, way: int) -> float:
    """Peak memory of a step above what was held before it, in a process of its own."""
    command = [sys.executable, "-m", "scripts.bench_trees", "--peak_of", name, "--way", str(way)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@dataclass(frozen=True)
class BenchConfig:
    peak_of: str = flag("", "Print the peak memory of a step of this case, in MiB, and nothing else.")
    way: int = flag(0, "With --peak_of: 0 trees, 1 separate rows.", choices=[0, 1])

    def __post_init__(self) -> None:
        known = ", ".join(CASES)
        require(self.peak_of in ("", *CASES), f"--peak_of {self.peak_of}: unknown; expected one of {known}")


def main(config: BenchConfig) -> None:
    if config.peak_of:
        print_peak(CASES[config.peak_of][config.way])
        return
    for name, (*ways, rounds) in CASES.items():
        ours, theirs = (make() for make in ways)
        seconds(ours), seconds(theirs)  # warm-up
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
        ratio = statistics.median(their / our for our, their in pairs)
        our, their = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name}: {our:.2f} s against {their:.2f} s, {ratio:.1f}x faster", flush=True)
        our, their = (peak_mib(name, way) for way in (0, 1))
        print(f"  peak memory {our:,.0f} MiB against {their:,.0f} MiB, {our / their:.2f} of it", flush=True)


if __name__ == "__main__":
    run_command(main, BenchConfig)
