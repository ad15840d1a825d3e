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
from training.utils.command import run_command
from training.utils.flags import flag, require

Round = dict[tuple[str, ...], Steps]  # what each process of a round took
HEAD = (
    "| step | other side | seconds, ours / other | times faster (range) | by processor time (range) "
    "| peak GB, ours / other | aim |\n|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class BenchConfig:
    output: str = flag("models/bench_trl", "Folder to write into.")
    only: list[str] = flag([], f"Cases, of {', '.join(CASES)}; none: all.")
    rounds: int = flag(3, "Processes of each side, in alternation.")
    size: str = flag("small", f"Of the model: {', '.join(SIZES)}.")

    def __post_init__(self) -> None:
        for name in self.only:
            require(name in CASES, f"--only {name}: unknown; expected {', '.join(CASES)}")
        require(self.rounds >= 1, f"--rounds {self.rounds}: expected 1 or more")
        require(self.size in SIZES, f"--size {self.size}: unknown; expected {', '.join(SIZES)}")


def ours(name: str) -> tuple[str, ...]:
    """The process of this project's side of a case: a module and its arguments."""
    return "ours", name


def other(name: str) -> tuple[str, ...]:
    """Of the other side."""
    case = CASES[name]
    return ("theirs", case.theirs_of or name) if case.trainer else ("ours", name, "rows")


def measured(module: str, name: str, *more: str, model: Path) -> Steps:
    """What a process took."""
    command = [sys.executable, "-W", "ignore", "-m", f"scripts.bench_trl.{module}", name, str(model), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[3:])}:\n{done.stderr[-3000:]}")
    steps = Steps.read(done.stdout)
    print(
        f"{' '.join((module, name, *more))}: {steps.wall:.2f} s a step, {steps.cpu:.2f} s of processor time, "
        f"{steps.peak_gb:.2f} GB; losses {shown(steps.losses)}",
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
    pairs = [(found[ours(name)], found[other(name)]) for found in rounds]
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
    folder.mkdir(parents=True, exist_ok=True)
    model = write_inputs(folder, SIZES[config.size])
    names = config.only or list(CASES)
    processes = dict.fromkeys(process for name in names for process in (ours(name), other(name)))
    rounds: list[Round] = []
    for _ in range(config.rounds):
        rounds.append({process: measured(*process, model=model) for process in processes})
        table = "\n".join([HEAD, *(line(name, rounds) for name in names)])
        (folder / "table.md").write_text(table + "\n")
    print(f"\n{table}")


if __name__ == "__main__":
    run_command(main, BenchConfig)
