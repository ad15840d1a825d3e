"""Kills every stage, predictions and a judge at random moments, starts them again until they reach their end, and
compares what they leave with an uninterrupted run: weights, logs, rollouts and answers, bit for bit.

    python -m scripts.kill_storm --kills 200 --seed 0

A kill is SIGKILL to all processes of a start, or to a random one of two, where the others have to notice. A third of
the kills wait for a checkpoint that is being written. Ends with status 1 if anything came out otherwise, or a start
that nobody killed failed or hung.
"""

import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.storm.cases import Case, cases, differences, serve_judge, write_model
from scripts.storm.job import LONGEST_S, Job
from training.utils.config.flags import flag, require
from training.utils.process.command import run_command

MOST_OF_A_RUN = 6  # kills, so that all cases get theirs
COLUMNS = ("case", "processes", "kills", "one of two", "in a write", "starts", "runs", "otherwise")


@dataclass(frozen=True)
class StormConfig:
    kills: int = flag(200, "Kills of all cases together.")
    seed: int = flag(0, "Seed of whom, when and how.")
    only: list[str] = flag([], "Cases, such as sft, rm, dpo, ppo, predict, judge; none: all.")
    processes: int = flag(0, "Only cases of so many processes, 1 or 2; 0: all.")
    steps: int = flag(4, "Optimizer steps of a training run.")
    output_dir: str = flag("", "Folder to work in, which is kept; none: a temporary one.", writes="folder")

    def __post_init__(self) -> None:
        require(self.kills > 0, f"--kills {self.kills}: expected 1 or more")
        require(self.steps > 1, f"--steps {self.steps}: expected 2 or more")
        require(self.processes in (0, 1, 2), f"--processes {self.processes}: expected 1, 2, or 0 for all")


@dataclass
class Target:
    """A case, how an uninterrupted run of it ended, and what became of those that were killed."""

    case: Case
    whole: Path
    seconds: float
    counts: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def row(self) -> str:
        counted = [self.counts[name] for name in COLUMNS[2:-1]]
        return f"| {' | '.join(map(str, [self.case.name, self.case.processes, *counted, len(self.wrong)]))} |"


def main(config: StormConfig) -> int:
    rng = random.Random(config.seed)
    folder = Path(config.output_dir or tempfile.mkdtemp(prefix="storm-"))
    folder.mkdir(exist_ok=True)
    url, judge = serve_judge()
    try:
        wanted = [
            case
            for case in cases(write_model(folder / "model"), folder, url, config.steps)
            if case.name in (config.only or [case.name]) and config.processes in (0, case.processes)
        ]
        require(bool(wanted), f"--only {' '.join(config.only)}: no case of that name and --processes")
        targets = [uninterrupted(case, folder / f"{case.name}-{case.processes}-whole") for case in wanted]
        kills, number = 0, 0
        while kills < config.kills:
            target = targets[number % len(targets)]
            most = min(MOST_OF_A_RUN, config.kills - kills)
            kills += storm(target, folder / f"run-{number}", rng, most)
            number += 1
            print(f"{kills} of {config.kills} kills", flush=True)
    finally:
        os.kill(judge, signal.SIGKILL)
        os.waitpid(judge, 0)
    wrong = [f"{t.case.name}, {t.case.processes} processes: {what}" for t in targets for what in t.wrong]
    print(f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", *(t.row() for t in targets), sep="\n")
    print(*wrong, sep="\n")
    equal = sum(target.counts["runs"] - len(target.wrong) for target in targets)
    print(f"{kills} kills in {number} runs; {equal} runs ended as an uninterrupted one")
    if not config.output_dir and not wrong:
        shutil.rmtree(folder)
    return int(bool(wrong))


def uninterrupted(case: Case, folder: Path) -> Target:
    folder.mkdir()
    started = time.monotonic()
    job = Job(case.module, case.command(folder), folder.with_suffix(".txt"), case.processes)
    if not job.ended(LONGEST_S):
        raise RuntimeError(f"{case.name}: fails without a kill: {job.last_words()}")
    return Target(case, folder, time.monotonic() - started)


def storm(target: Target, folder: Path, rng: random.Random, most: int) -> int:
    """Runs a case to its end, killed at random until then; the number of kills, `most` at most."""
    case, kills, told = target.case, 0, folder.with_suffix(".txt")
    folder.mkdir()
    target.counts["runs"] += 1
    while True:
        target.counts["starts"] += 1
        job = Job(case.module, case.command(folder), told, case.processes)
        if kills == most or not strike(job, target, folder, rng):
            break
        kills += 1
        if not job.wait(LONGEST_S):
            target.wrong.append(f"{folder}: outlived the other process for {LONGEST_S:.0f} s")
            job.kill()
            job.wait(LONGEST_S)
            return kills
    if not job.ended(LONGEST_S):
        target.wrong.append(f"{folder}: a start failed that was not killed: {job.last_words()}")
    elif other := differences(case, target.whole, folder):
        target.wrong.append(f"{folder}: not equal: {', '.join(other)}")
    else:
        shutil.rmtree(folder)
    return kills


def strike(job: Job, target: Target, folder: Path, rng: random.Random) -> bool:
    """Kills a start at some moment; false if it ended before."""
    counts, case = target.counts, target.case
    in_write = rng.random() < 1 / 3
    moment = time.monotonic() + 0.8 * rng.random() * target.seconds
    victim = rng.randrange(case.processes) if case.processes > 1 and rng.random() < 0.5 else None
    after_s = rng.random() * 0.03
    if in_write and case.output_flag == "--output_dir":
        skipped = rng.randrange(2)  # checkpoints that are left alone
        if not (until(job, lambda: len(names(folder)) >= skipped) and until(job, lambda: is_writing(folder))):
            return False
        time.sleep(after_s)
    elif not until(job, lambda: time.monotonic() >= moment):
        return False
    if not job.is_running():
        return False
    counts["in a write"] += is_writing(folder)
    if not has_joined(job, folder):
        victim = (
            None  # processes that do not know each other yet are ended by their launcher, and here is none
        )
    job.kill(victim)
    counts["kills"] += 1
    counts["one of two"] += victim is not None
    return True


def until(job: Job, happens: Callable[[], bool]) -> bool:
    """Waits for something; false if the processes ended before, or did nothing of it in the longest time of a run."""
    latest = time.monotonic() + LONGEST_S
    while not happens():
        if not job.is_running() or time.monotonic() > latest:
            return False
        time.sleep(0.001)
    return True


def names(folder: Path) -> list[Path]:
    return list(folder.glob("checkpoint-*"))


def has_joined(job: Job, folder: Path) -> bool:
    """Whether the processes of a start watch each other: its first one takes the lock after that."""
    return any(f'"pid": {job.ranks[0]},' in file.read_text() for file in folder.glob(".*lock"))


def is_writing(folder: Path) -> bool:
    return any(folder.glob(".*.partial")) or any(folder.glob(".*.removed"))


if __name__ == "__main__":
    run_command(main, StormConfig)
