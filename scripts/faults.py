"""Runs that meet a full disk, a quota, a read-only file system, no memory, a clock that is set back, a killed data
worker, or pictures that vanish: what they say, with which status they end, and whether the same command goes on.

    python -m scripts.faults

Each row is a whole run of a tiny model on the samples that is struck once, and then started again without the fault.
Held against a run that nothing disturbs. Ends with status 1 if a row is not as it should be.
"""

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.storm.cases import Case, differences, write_model
from scripts.storm.faulty import Row, all_cases, copied_samples, faults_of, rows, sentences_in
from scripts.storm.job import LONGEST_S, Job
from training.utils.checkpoint.manifest import damage
from training.utils.checkpoint.states import checkpoints
from training.utils.config.flags import flag, require
from training.utils.process.command import run_command

SOON_S = 120.0  # in which a fault has to end all processes, a start on a busy machine included


@dataclass(frozen=True)
class FaultsConfig:
    few: bool = flag(False, "Only the rows that the tests run.")
    only: list[str] = flag([], "Only rows with one of these words in their name or run.")
    output_dir: str = flag("", "Folder to work in, which is kept; none: a temporary one.", writes="folder")


def main(config: FaultsConfig) -> int:
    folder = Path(config.output_dir or tempfile.mkdtemp(prefix="faults-"))
    data = folder / "data"
    chosen = [
        row
        for row in rows(data)
        if (row.few or not config.few)
        and (not config.only or any(word in f"{row.name} {row.case}" for word in config.only))
    ]
    require(bool(chosen), f"--only {' '.join(config.only)}: no row has that")
    copied_samples(data)
    model = write_model(folder / "model")
    undisturbed: dict[str, Path] = {}
    wrong = 0
    print("| fault | run | ends with | says | goes on as if nothing had been |\n|---|---|---|---|---|")
    for number, row in enumerate(chosen):
        if row.case not in undisturbed:
            undisturbed[row.case] = whole(row.case, model, data, folder / f"whole-{len(undisturbed)}")
        place = folder / f"run-{number}"
        place.mkdir()
        case = all_cases(model, data, place)[row.case]
        said, status, problems = strike(row, case, place)
        problems += go_on(case, undisturbed[row.case], place)
        wrong += bool(problems)
        said = said.replace(f"{folder}/", "").replace("|", "/")
        print(f"| {row.name} | {row.case} | {status} | {said} | {'; '.join(problems) or 'yes'} |", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} rows are as they should be")
    if not config.output_dir and not wrong:
        shutil.rmtree(folder)
    return int(wrong > 0)


def whole(name: str, model: Path, data: Path, folder: Path) -> Path:
    folder.mkdir()
    case = all_cases(model, data, folder)[name]
    job = Job(case.module, case.command(folder / "out"), folder / "told.txt", case.processes)
    if not job.ended(LONGEST_S):
        raise RuntimeError(f"{name}: fails without a fault: {job.last_words()}")
    return folder / "out"


def strike(row: Row, case: Case, folder: Path) -> tuple[str, int, list[str]]:
    """Runs into a fault: the sentence that is said, the status, and what is not as it should be."""
    told = folder / "struck.txt"
    started = time.monotonic()
    job = Job(case.module, case.command(folder / "out"), told, case.processes, row.fault.install)
    problems = [] if job.wait(LONGEST_S) else [f"ran on for {LONGEST_S:.0f} s"]
    took_s = time.monotonic() - started
    job.kill()
    job.wait(LONGEST_S)
    row.cure()
    text = told.read_text()
    status = max(map(abs, job.statuses.values()))
    if took_s > SOON_S:
        problems.append(f"took {took_s:.0f} s")
    problems += faults_of(row, text, status)
    problems += [f"{each.name}: {found}" for each in checkpoints(folder / "out") if (found := damage(each))]
    return (sentences_in(text) or [""])[0], status, problems


def go_on(case: Case, undisturbed: Path, folder: Path) -> list[str]:
    """Starts the same again, with the fault gone: how its end differs from a run that nothing disturbed."""
    job = Job(case.module, case.command(folder / "out"), folder / "again.txt", case.processes)
    if not job.ended(LONGEST_S):
        return [f"does not go on: {job.last_words()[-300:]}".replace("\n", " ")]
    found = differences(case, undisturbed, folder / "out")
    return [f"other {', '.join(found)}"] if found else []


if __name__ == "__main__":
    run_command(main, FaultsConfig)
