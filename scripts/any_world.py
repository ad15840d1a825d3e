"""Runs that go on with other numbers of processes, at other ZeRO stages: what that changes.

    python -m scripts.any_world --output_dir /tmp/any_world

Each row trains a tiny model on the samples to the end on some processes, and from a checkpoint to the end on
others, in fp32 on the CPU. It shows the largest difference of a loss, or of a reward or KL of policy optimisation,
in the 10 steps after the checkpoint.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.model import TinyConfig, build_tiny_llava
from scripts.ranks import on_ranks
from training.dpo.train_dpo import main as train_dpo
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.train_rm import main as train_rm
from training.sft.train_sft import main as train_sft
from training.utils.config.flags import flag, require
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig
from training.utils.data.record import DataError, Record
from training.utils.files import jsonl
from training.utils.process.command import run_command

SAMPLES = Path(__file__).parent.parent / "data" / "samples"
STEP, STEPS = 2, 12  # of the checkpoint, and of the whole run
GLOBAL_BATCH = 4
FIGURES = ("loss", "policy_loss", "value_loss", "reward", "kl")
LORA = {"lang_lora_dim": 4, "lang_decoder_update": False}
PPO = {
    "reward_functions": ["scripts.any_world:num_characters"],
    "critic_init": "policy",
    "max_generation_length_of_sampling": 6,
    "actor_learning_rate": 1e-4,
    "critic_learning_rate": 1e-4,
}
STAGES: dict[str, tuple[Any, type, str, dict[str, Any]]] = {
    "SFT": (train_sft, SFTConfig, "sft.json", {}),
    "SFT, LoRA": (train_sft, SFTConfig, "sft.json", LORA),
    "reward model": (train_rm, RewardConfig, "reward.json", {}),
    "DPO": (train_dpo, DPOConfig, "reward.json", {}),
    "DPO, LoRA": (train_dpo, DPOConfig, "reward.json", LORA),
    "PPO with critic": (train_ppo, PPOConfig, "ppo.json", PPO),
}


@dataclass(frozen=True)
class World:
    processes: int
    zero_stage: int

    def __str__(self) -> str:
        return f"{self.processes} x ZeRO-{self.zero_stage}"


@dataclass(frozen=True)
class Row:
    stage: str
    before: World
    after: World


@dataclass(frozen=True)
class Job:
    """A run of a stage, from the start or from the checkpoint of another run."""

    stage: str
    world: World
    folder: Path
    resume: str = "never"


def rows(stage: str, *pairs: str) -> list[Row]:
    """Each pair is processes and ZeRO stage before and after, such as 2.3-1.0."""
    worlds = [[World(*map(int, world.split("."))) for world in pair.split("-")] for pair in pairs]
    return [Row(stage, before, after) for before, after in worlds]


# What the tests run; the command runs the others too.
FEW = [
    *rows("SFT", "2.2-1.0", "2.2-4.3"),
    *rows("SFT, LoRA", "1.0-2.3"),
    *rows("DPO", "1.0-2.1"),
    *rows("PPO with critic", "2.3-1.0"),
]
ALL = [
    *rows("SFT", "2.0-1.0", "2.1-1.3", "2.2-1.0", "2.3-1.2", "1.0-2.3", "1.2-2.1", "1.3-2.0", "2.3-2.1"),
    *rows("SFT", "2.1-4.2", "2.2-4.3", "4.3-2.2"),
    *rows("SFT, LoRA", "1.0-2.3", "2.2-1.0", "2.3-4.1"),
    *rows("reward model", "2.3-1.0"),
    *rows("DPO", "1.0-2.1", "2.2-1.3"),
    *rows("DPO, LoRA", "2.2-1.0"),
    *rows("PPO with critic", "2.3-1.0", "1.0-2.2", "2.2-4.3"),
]


@dataclass(frozen=True)
class AnyWorldConfig:
    output_dir: str = flag(help="Folder to write the runs into; it must be new.", writes="folder")
    few: bool = flag(False, "Only the rows that the tests run.")


def num_characters(record: Record, responses: list[str]) -> list[float]:
    return [float(len(response)) for response in responses]


def train(job: Job, model: Path) -> None:
    main, config_class, file, more = STAGES[job.stage]
    zero = {"zero_stage": job.world.zero_stage}
    if config_class is PPOConfig:
        zero = {"actor_zero_stage": job.world.zero_stage, "critic_zero_stage": job.world.zero_stage}
    settings = {
        "from_checkpoint": str(model),
        "data_path": str(SAMPLES / file),
        "output_dir": str(job.folder),
        "resume": job.resume,
        "lang_decoder_update": True,
        "max_seq_len": 256,
        "per_device_train_batch_size": GLOBAL_BATCH // job.world.processes,
        "max_steps": STEPS,
        "learning_rate": 1e-4,
        "precision": "fp32",
        "save_step": STEP if job.resume == "never" else STEPS,
        "save_total_limit": 0,
        "eval_step": STEPS + 1,
        "dataset_samples": "16",
        "data_train_split_ratio": 1.0,
    }
    main(config_class(**settings | zero | more))


def train_all(jobs: Sequence[Job], model: Path, log: Path) -> None:
    """Runs jobs of one number of processes, one after the other, in as many forks of this process.

    Raises:
        DataError: one of them failed.
    """
    if not on_ranks(jobs[0].world.processes, lambda: [train(job, model) for job in jobs], log):
        raise DataError(f"{log}: a run failed; the last lines there say why")


def difference(whole: Path, resumed: Path) -> float:
    """The largest one of a figure in the steps after the checkpoint.

    Raises:
        DataError: a step is missing.
    """
    logs = []
    for folder in (whole, resumed):
        lines = {line["step"]: line for line in jsonl.read(folder / "log.jsonl") if "epoch" in line}
        if not set(range(STEP + 1, STEPS + 1)) <= lines.keys():
            raise DataError(f"{folder}: a step is missing in its log")
        logs.append(lines)
    return max(
        abs(logs[0][step][name] - logs[1][step][name])
        for step in range(STEP + 1, STEPS + 1)
        for name in FIGURES
        if name in logs[0][step]
    )


def compare(chosen: Sequence[Row], folder: Path) -> list[tuple[Row, float]]:
    """Each row with its difference."""
    model = folder / "model"
    build_tiny_llava(
        TinyConfig(
            str(model), str(SAMPLES), 32, 8, vision_size=32, vision_layers=2, hidden_size=48, num_layers=2
        )
    )
    whole = {(row.stage, row.before): folder / f"whole-{n}" for n, row in enumerate(chosen)}
    first = [Job(stage, world, place) for (stage, world), place in whole.items()]
    then = [
        Job(
            row.stage,
            row.after,
            folder / f"resumed-{number}",
            str(whole[row.stage, row.before] / f"checkpoint-{STEP}"),
        )
        for number, row in enumerate(chosen)
    ]
    for part in (first, then):
        for processes in sorted({job.world.processes for job in part}):
            train_all([job for job in part if job.world.processes == processes], model, folder / "log.txt")
    pairs = zip(chosen, then, strict=True)
    return [(row, difference(whole[row.stage, row.before], job.folder)) for row, job in pairs]


def main(config: AnyWorldConfig) -> None:
    folder = Path(config.output_dir)
    require(
        not any(folder.iterdir()), f"--output_dir {folder}: holds something already; expected a new folder"
    )
    found = compare(FEW if config.few else ALL, folder)
    print("| stage | saved by | goes on with | largest difference in 10 steps |\n|---|---|---|---|")
    for row, largest in found:
        print(f"| {row.stage} | {row.before} | {row.after} | {largest:.1e} |")
    (folder / "differences.json").write_text(json.dumps([largest for _, largest in found]))


if __name__ == "__main__":
    run_command(main, AnyWorldConfig)
