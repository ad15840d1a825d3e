"""Memory and open files of long runs: a DPO and a PPO of a tiny model, looked at as they go.

    python -m scripts.long_run --steps 500

Ends with status 1 if the second half of a run needs 3 % more memory than the first, or another number of files.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from scripts.storm.cases import MODULES, training_flags, write_model
from scripts.storm.job import Job
from training.utils.config.flags import flag, require
from training.utils.process.command import run_command

LOOK_S = 0.5
WARM_UP = 0.2  # share of a run in which pools and caches fill
GROWTH = 1.03


@dataclass(frozen=True)
class LongRunConfig:
    stages: list[str] = flag(["dpo", "ppo"], "Stages to run, side by side.")
    steps: int = flag(500, "Optimizer steps of each.")

    def __post_init__(self) -> None:
        unknown = ", ".join(sorted(set(self.stages) - set(MODULES)))
        require(not unknown, f"--stages {unknown}: unknown; expected of {', '.join(MODULES)}")
        require(self.steps >= 20, f"--steps {self.steps}: expected 20 or more")


@dataclass(frozen=True)
class Look:
    step: int
    mib: float  # resident
    files: int


def main(config: LongRunConfig) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_model(folder / "model")
        runs = {}
        for stage in config.stages:
            flags = training_flags(stage, model, config.steps, save_step=config.steps // 10)
            output = folder / stage
            job = Job(MODULES[stage], [*flags, "--output_dir", str(output)], folder / f"{stage}.txt")
            runs[stage] = job, output, []
        while any(job.is_running() for job, _, _ in runs.values()):
            time.sleep(LOOK_S)
            for job, output, looks in runs.values():
                if job.is_running():
                    looks.append(look(job, output))
        print(
            "| stage | steps | MiB, first half | MiB, second half | open files |",
            "|---|---|---|---|---|",
            sep="\n",
        )
        return int(any([not tell(stage, *run, config.steps) for stage, run in runs.items()]))


def look(job: Job, output: Path) -> Look:
    process = psutil.Process(job.ranks[0])
    log = output / "log.jsonl"
    step = sum('"epoch"' in line for line in log.read_text().splitlines()) if log.is_file() else 0
    try:
        return Look(step, process.memory_info().rss / 2**20, process.num_fds())
    except psutil.Error:  # it has just ended
        return Look(0, 0.0, 0)


def tell(stage: str, job: Job, output: Path, looks: list[Look], steps: int) -> bool:
    """Prints a line; whether the run reached its end and stayed as large as it was."""
    if not job.succeeded:
        print(f"{stage}: {job.last_words()}")
        return False
    warm = [look for look in looks if look.step >= WARM_UP * steps]
    middle = steps * (1 + WARM_UP) / 2
    halves = [[x for x in warm if (x.step >= middle) == late] for late in (False, True)]
    memory = [median(x.mib for x in half) for half in halves]
    files = [median(x.files for x in half) for half in halves]
    print(f"| {stage} | {steps} | {memory[0]:.0f} | {memory[1]:.0f} | {files[0]:.0f}, {files[1]:.0f} |")
    return memory[1] <= GROWTH * memory[0] and files[1] == files[0]


if __name__ == "__main__":
    run_command(main, LongRunConfig)
