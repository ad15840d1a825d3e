"""Alternates processes of both sides and prints a line for each case; `../bench_trl.sh` starts it."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from scripts.bench_trl.setting import CASES, SIZES, write_inputs
from scripts.bench_trl.steps import Steps
from training.utils.config.flags import flag, require, require_known
from training.utils.process.command import run_command

Side = tuple[str, str]  # a case, and what is run of it
Round = dict[Side, Steps]  # what each process of a round took
HEAD = (
    "| step | other side | seconds, ours / other | times faster (range) | by processor time (range) "
    "| peak GB, ours / other | aim |\n|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class BenchConfig:
    output: str = flag("models/bench_trl", "Folder to write into.", writes="folder")
    only: list[str] = flag([], f"Cases, of {', '.join(CASES)}; none: all.")
    rounds: int = flag(3, "Processes of each side, in alternation.")
    size: str = flag("small", "Of the model.", choices=list(SIZES))

    def __post_init__(self) -> None:
        require_known("--only", self.only, CASES)
        require(self.rounds >= 1, f"--rounds {self.rounds}: expected 1 or more")


def other(name: str) -> Side:
    """The process of the other side of a case."""
    case = CASES[name]
    return (case.theirs_of or name, "theirs") if case.trainer else (name, "rows")


def measured(side: Side, model: Path) -> Steps:
    """What a process took."""
    name, kind = side
    command = [sys.executable, "-W", "ignore", "-m", "scripts.bench_trl.side"]
    command += ["--case", name, "--side", kind, "--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[3:])}:\n{done.stderr[-3000:]}")
    steps = Steps.read(done.stdout)
    print(
        f"{name} {kind}: {steps.wall:.2f} s a step, {steps.cpu:.2f} s of processor time, {steps.peak_gb:.2f} GB; "
        f"losses {shown(steps.losses)}",
        flush=True,
    )
    return steps


def shown(losses: Sequence[float]) -> str:
    return " ".join(f"{loss:.4f}" for loss in losses)


def ratio(values: list[tuple[float, float]]) -> str:
    """How many times the second is the first: the median, and the range."""
    ratios = [other / our for our, other in values]
    return f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def line(name: str, rounds: list[Round]) -> str:
    """Of the table."""
    case = CASES[name]
    pairs = [(found[name, "ours"], found[other(name)]) for found in rounds]
    our, others = zip(*pairs, strict=True)
    cells = [
        case.name,
        f"{case.trainer}Trainer" if case.trainer else "ours, a row for each answer",
        f"{median(s.wall for s in our):.2f} / {median(s.wall for s in others):.2f}",
        ratio([(a.wall, b.wall) for a, b in pairs]),
        ratio([(a.cpu, b.cpu) for a, b in pairs]),
        f"{max(s.peak_gb for s in our):.1f} / {max(s.peak_gb for s in others):.1f}",
        f"{case.aim:g}",
    ]
    return f"| {' | '.join(cells)} |"


def main(config: BenchConfig) -> None:
    folder = Path(config.output)
    shutil.rmtree(folder / "model", ignore_errors=True)
    model = write_inputs(folder, SIZES[config.size])
    names = config.only or list(CASES)
    sides = dict.fromkeys(side for name in names for side in ((name, "ours"), other(name)))
    rounds: list[Round] = []
    for _ in range(config.rounds):
        rounds.append({side: measured(side, model) for side in sides})
        table = "\n".join([HEAD, *(line(name, rounds) for name in names)])
        (folder / "table.md").write_text(table + "\n")
    print(f"\n{table}")


if __name__ == "__main__":
    run_command(main, BenchConfig)
