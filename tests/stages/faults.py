"""Three processes of a stage that meet a fault: `python -m tests.stages.faults torchrun OUTPUT FAULT...`

The modules are imported once, then each process is a fork. The word in the command line makes the parent a launcher
in the eyes of its children.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from scripts.ranks import free_port
from training.utils.checkpoint.background import saving
from training.utils.checkpoint.claim import AlreadyFinished
from training.utils.config.stage_config import SFTConfig
from training.utils.data.record import DataError, ImageError
from training.utils.data.sampler import StepSampler
from training.utils.files import shared_folder
from training.utils.loop.pace import Pace
from training.utils.process import dist
from training.utils.process.cli import run_stage
from training.utils.process.progress import progress
from training.utils.process.stop import Stopped

PROCESSES, MAX_SILENCE_S = 3, 4
AT_A_TIME = 4  # faults: most of the time goes by in waiting
FLAGS = [
    "--from_checkpoint",
    "x",
    "--data_path",
    "x",
    "--output_dir",
    "x",
    "--max_silence_s",
    str(MAX_SILENCE_S),
]


def raises(error: Exception, *ranks: int):
    def act() -> None:
        if dist.rank() in ranks:
            raise error

    return act


def signals(number: int, rank: int):
    def act() -> None:
        if dist.rank() == rank:
            os.kill(os.getpid(), number)

    return act


def no_memory_for_a_save() -> None:
    """Its thread waits for one that could not begin."""
    if dist.rank() == 1:
        saving.start(lambda: time.sleep(600))
        raise MemoryError()


def ends_launcher() -> None:
    if dist.is_main():
        os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(30)  # as a training would go on


def hangs() -> None:
    """The main thread, in the training loop; the others wait for it."""
    with progress.expected(2):
        if dist.rank() == 1:
            time.sleep(60)
        dist.barrier()


def is_stopped() -> None:
    """By a signal to one process, in the third step."""
    config = SFTConfig(from_checkpoint="x", data_path="x", output_dir="x")
    pace = Pace(config, StepSampler(6, per_device=2, accumulation=1, num_steps=100, seed=0))
    for step, _ in pace.steps(range(100)):
        if dist.rank() == 1 and step == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        pace.after(step)
    raise Stopped(f"{pace.stopped_by} after step {step}", by_all=True)


def is_busy() -> None:
    """Longer than a silence may last: the main thread has no part in the signs of life."""
    if dist.rank() == 1:
        time.sleep(MAX_SILENCE_S + 3)


FAULTS = {
    "none": lambda: None,
    "busy": is_busy,
    "finished before": raises(AlreadyFinished("finished before"), 0, 1, 2),
    "bad record": raises(DataError("a.json[7]: no picture"), 1),
    "bad picture": raises(ImageError("image 'a.png' is an empty file; replace it"), 2),
    "bad data for all": raises(DataError("a.json: no such file"), 0, 1, 2),
    "bug on the main process": raises(KeyError("surprise"), 0),
    "bug": raises(KeyError("surprise"), 2),
    "memory": raises(MemoryError(), 1),
    "memory, in a save too": no_memory_for_a_save,
    "gpu memory": raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has"), 1),
    "disk": raises(OSError(28, "No space left on device", "/models/x"), 1),
    "killed": signals(signal.SIGKILL, 1),
    "main process killed": signals(signal.SIGKILL, 0),
    "stopped": signals(signal.SIGSTOP, 1),
    "main process stopped": signals(signal.SIGSTOP, 0),
    "hangs": hangs,
    "signal to one process": is_stopped,
    "signal before the loop": signals(signal.SIGTERM, 2),
    "launcher killed": ends_launcher,
    "folder of its own": lambda: None,
}


def has_folder_of_its_own() -> None:
    """As on a node where the output folder is another disk."""
    shared_folder.SEEN_S = 1.0
    if os.environ["RANK"] == "2":
        place = sys.argv.index("--output_dir") + 1
        sys.argv[place] += "-elsewhere"


BEFORE = {"folder of its own": has_folder_of_its_own}


def stage(fault: str) -> None:
    def main(config: SFTConfig) -> None:
        dist.barrier()
        FAULTS[fault]()
        dist.barrier()  # where all others wait

    BEFORE.get(fault, lambda: None)()
    run_stage(main, SFTConfig)


def launch(fault: str, folder: Path) -> dict:
    """What a fault led to: seconds until all other processes had ended, their statuses, what they printed."""
    port = free_port()
    launcher_reads, launcher_writes = os.pipe()
    sys.argv[sys.argv.index("--output_dir") + 1] = str(folder / "out")
    os.environ |= {"WORLD_SIZE": str(PROCESSES), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    start = time.monotonic()
    if not (launcher := os.fork()):
        os.setpgid(0, 0)
        os.close(launcher_reads)
        for rank in range(PROCESSES):
            if not os.fork():
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
                status = 0
                try:
                    stage(fault)
                except SystemExit as ended:
                    status = ended.code
                os._exit(status)
        statuses = []
        for _ in range(PROCESSES - ("stopped" in fault)):
            statuses.append(os.waitstatus_to_exitcode(os.wait()[1]))
        os.write(launcher_writes, json.dumps(statuses).encode())
        os.kill(0, signal.SIGKILL)
    os.close(launcher_writes)
    with open(launcher_reads) as opened:
        told = opened.read()  # until all processes that hold the other end have gone
    seconds = time.monotonic() - start
    os.waitpid(launcher, 0)
    return {
        "seconds": seconds,
        "statuses": sorted(json.loads(told or "[]")),
        "stderr": (folder / "stderr").read_text(),
    }


def main(output: str, faults: list[str]) -> None:
    """Writes a JSON file of what each fault led to."""
    sys.argv[1:] = FLAGS
    names = faults or list(FAULTS)
    folders = [Path(output).with_suffix(f".{number}") for number in range(len(names))]
    for first in range(0, len(names), AT_A_TIME):
        for fault, folder in list(zip(names, folders, strict=True))[first : first + AT_A_TIME]:
            folder.mkdir()
            if not os.fork():
                (folder / "result").write_text(json.dumps(launch(fault, folder)))
                os._exit(0)
        for _ in names[first : first + AT_A_TIME]:
            os.wait()
    results = {n: json.loads((f / "result").read_text()) for n, f in zip(names, folders, strict=True)}
    Path(output).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[3:])
