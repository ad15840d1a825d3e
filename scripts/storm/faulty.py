"""Which faults are tried on which runs, and what each has to say."""

import errno
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.storm.cases import MODULES, SAMPLES, Case, flags_of, training_flags
from scripts.storm.strike import (
    Fault,
    FileLimit,
    Strike,
    Vanish,
    kill_workers,
    refused,
    run_out_of_memory,
    set_clock_back,
    turn_read_only,
)

STEPS = 4
NEVER = ("Traceback", "Exception ignored", "Fatal Python")  # by what ends in one sentence
FULL, QUOTA, READ_ONLY = "the disk is full", "the disk quota is used up", "the file system is read-only"
STATE = "*/.checkpoint-3.partial/state/engine-{}-00.safetensors"


@dataclass(frozen=True)
class Row:
    """A run, what strikes it, and how that has to end."""

    name: str
    case: str
    fault: Fault
    says: str  # in the one sentence
    place: str = ""  # so too
    status: int = 1
    few: bool = False  # whether the tests run it
    cure: Callable[[], None] = lambda: None


def sentences_in(text: str) -> list[str]:
    return re.findall(r"^error.*?: (.*)$", text, re.MULTILINE)


def faults_of(row: Row, text: str, status: int) -> list[str]:
    """What of an end, as it was printed, is not as the row expects."""
    sentences = sentences_in(text)
    found = [] if status == row.status else [f"status {status}, expected {row.status}"]
    if len(sentences) != (row.status > 0):
        found.append(f"{len(sentences)} sentences")
    found += [f"prints {word}" for word in NEVER if word in text]
    if row.status and not any(row.says in each and row.place in each for each in sentences):
        found.append(f"does not say {row.says!r} of {row.place!r}")
    return found


def copied_samples(folder: Path) -> Path:
    return Path(shutil.copytree(SAMPLES, folder))


def all_cases(model: Path, data: Path, folder: Path) -> dict[str, Case]:
    """Runs by name. Those that keep something on disk for other runs have a folder of their own for it."""

    def training(stage: str, processes: int = 1, **more: object) -> Case:
        file = {"sft": "sft", "dpo": "reward", "ppo": "ppo"}[stage]
        more = {"data_path": data / f"{file}.json", "num_workers": 0} | more
        return Case(stage, MODULES[stage], training_flags(stage, model, STEPS, **more), processes)

    asked = flags_of(from_checkpoint=model, data_path=data / "predict.json", precision="fp32", batch_size=4)
    asked += flags_of(max_new_tokens=8, max_seq_len=256)
    return {
        "SFT": training("sft"),
        "SFT, 2 processes": training("sft", 2, zero_stage=2),
        "SFT, data workers": training("sft", num_workers=2),
        "SFT, kept features": training("sft", cache_image_features=folder / "features"),
        "DPO, kept reference": training("dpo", reference_cache=folder / "reference"),
        "PPO": training("ppo"),
        "predict": Case("predict", "eval.predict", asked, 1, "--output_path", "answers.jsonl"),
    }


def rows(data: Path) -> list[Row]:
    gone = Vanish(data)
    memory = "out of memory"
    return [
        Row("full: log.jsonl", "SFT", refused(errno.ENOSPC, "*/log.jsonl", 2), FULL, "log.jsonl", few=True),
        Row(
            "full: state, save thread", "SFT", refused(errno.ENOSPC, STATE.format(0)), FULL, "state/engine-0"
        ),
        Row(
            "full: model, save thread",
            "SFT",
            refused(errno.ENOSPC, "*/.checkpoint-3.partial/model.safetensors"),
            FULL,
            "checkpoint-3.partial/model.safetensors",
        ),
        Row(
            "full: manifest", "SFT", refused(errno.ENOSPC, "*-3.partial/manifest.json"), FULL, "manifest.json"
        ),
        Row("full: latest", "SFT", refused(errno.ENOSPC, "*/.latest", 1), FULL, ".latest"),
        Row("full: args.json", "SFT", refused(errno.ENOSPC, "*/.args.json.partial"), FULL, "args.json"),
        Row("full: curves.png", "SFT", refused(errno.ENOSPC, "*curves*.png"), FULL, "curves"),
        Row("file size limit", "SFT", FileLimit(100_000), "ulimit -f", ".safetensors"),
        Row("quota: state", "SFT", refused(errno.EDQUOT, STATE.format(0)), QUOTA, "state/engine-0"),
        Row("read-only", "SFT", Strike(turn_read_only, "*/log.jsonl", 2), READ_ONLY, "log.jsonl"),
        Row("full: features", "SFT, kept features", refused(errno.ENOSPC, "*.part"), FULL, "features"),
        Row(
            "full: reference",
            "DPO, kept reference",
            refused(errno.ENOSPC, "*ref_logps*", 3),
            FULL,
            "ref_logps",
        ),
        Row(
            "full: rollouts.jsonl",
            "PPO",
            refused(errno.ENOSPC, "*/rollouts.jsonl", 3),
            FULL,
            "rollouts.jsonl",
        ),
        Row("full: answers", "predict", refused(errno.ENOSPC, "*.part-0", 3), FULL, "answers.jsonl.part-0"),
        Row(
            "quota: answers, merged",
            "predict",
            refused(errno.EDQUOT, "*.jsonl.partial"),
            QUOTA,
            "answers.jsonl",
        ),
        Row("memory", "SFT", Strike(run_out_of_memory, "*/log.jsonl", 2), memory, few=True),
        Row("memory, save thread", "SFT", Strike(run_out_of_memory, STATE.format(0)), memory),
        Row("memory", "PPO", Strike(run_out_of_memory, "*/rollouts.jsonl", 3), memory),
        Row("clock back a day", "SFT", Strike(set_clock_back, "*/log.jsonl", 1), "", status=0),
        Row(
            "worker killed", "SFT, data workers", Strike(kill_workers, "*/log.jsonl", 1), "DataLoader worker"
        ),
        Row(
            "pictures vanish",
            "SFT",
            Strike(gone, "*/log.jsonl", 1),
            "there is no such folder now",
            ".png",
            status=2,
            few=True,
            cure=gone.cure,
        ),
        Row(
            "full: state of process 1",
            "SFT, 2 processes",
            refused(errno.ENOSPC, STATE.format(1), rank=1),
            FULL,
            "state/engine-1",
            few=True,
        ),
        Row(
            "quota: log.jsonl",
            "SFT, 2 processes",
            refused(errno.EDQUOT, "*/log.jsonl", 2),
            QUOTA,
            "log.jsonl",
        ),
        Row("full: args.json", "SFT, 2 processes", refused(errno.ENOSPC, "*/.args*"), FULL, "args.json"),
        Row(
            "read-only", "SFT, 2 processes", Strike(turn_read_only, "*/log.jsonl", 2), READ_ONLY, "log.jsonl"
        ),
        Row("memory", "SFT, 2 processes", Strike(run_out_of_memory, STATE.format(1), rank=1), memory),
    ]
