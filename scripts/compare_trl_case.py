"""How each side of `compare_trl.py` is asked for a loss."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.compare_trl_ours import NUM_SAMPLES, SAMPLES, TEACHER
from training.utils.config.distill_config import DistillConfig
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.rewards_config import RewardsConfig
from training.utils.config.train_config import TrainConfig

NUM_STEPS, PROMPTS = 20, 2  # optimizer steps, prompts of each
SHARED = {
    "learning_rate": 1e-3,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "weight_decay": 0.0,
    "max_grad_norm": 0.0,
    "lr_scheduler_type": "constant",
}
THEIRS = {  # of each of TRL's trainers
    "train_sampling_strategy": "sequential",
    "gradient_checkpointing": False,
    "bf16": False,
    "use_cpu": True,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


@dataclass(frozen=True)
class Case:
    """A loss, and how each side is asked for it."""

    name: str
    trainer: str  # of TRL
    theirs: dict[str, Any]
    stage: type[TrainConfig]
    ours: dict[str, Any]
    records: str
    accumulation: int = 1  # micro-batches of a step
    updates: int = 1  # of the same responses
    reward_scale: float = 1.0  # of TRL's rewards
    rewards: dict[str, float] = field(default_factory=lambda: {"reward": 1.0})  # weights by name
    slack: float = (
        1.0  # times the tolerance of a weight: AdamW scales rounding up where a gradient is nothing else
    )
    note: str = ""


def settings_for(case: Case, model: Path, output: Path) -> tuple[dict[str, Any], TrainConfig]:
    """Of TRL's trainer, and of this project's stage."""
    per_micro_batch = PROMPTS // case.accumulation
    rows_per_prompt = NUM_SAMPLES if case.stage is PPOConfig else 1  # TRL counts samples there
    shared = SHARED | {"gradient_accumulation_steps": case.accumulation}
    theirs = {
        "output_dir": f"{output}/theirs",
        "per_device_train_batch_size": per_micro_batch * rows_per_prompt,
        "max_steps": NUM_STEPS,
        **THEIRS,
    }
    flags = {
        "from_checkpoint": str(model),
        "output_dir": f"{output}/ours",
        "data_path": str(model.parent / f"{case.records}.json"),
        "image_folder": str(SAMPLES),
        "data_train_split_ratio": 1.0,
        "per_device_train_batch_size": per_micro_batch,
        "max_steps": NUM_STEPS // case.updates,
        "vis_encoder_update": True,
        "lang_decoder_update": True,
        "precision": "fp32",
    }
    if case.stage is DistillConfig:
        flags["teacher"] = str(model.parent / TEACHER)
    if issubclass(case.stage, RewardsConfig):
        flags["reward_functions"] = [f"scripts.compare_trl_ours:{name}" for name in case.rewards]
        flags["reward_weights"] = theirs["reward_weights"] = [*case.rewards.values()]
    if case.stage is PPOConfig:
        theirs["num_iterations"] = flags["ppo_epochs"] = case.updates
        flags["actor_learning_rate"] = SHARED["learning_rate"]
    return theirs | shared | case.theirs, case.stage(**flags | shared | case.ours)
