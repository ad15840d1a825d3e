"""Predictions of `plan_memory` beside what two steps take, on this machine's CPU.

    python -m scripts.measure_memory [--stages sft dpo] [--families llava]

The product's own steps, optimizer and DeepSpeed included, on models of 50 to 65 million random weights, as one
process with its tensors counted as they come and go. What an allocator loses is no part of it.
"""

import logging
from dataclasses import dataclass
from typing import Any

from scripts.memory_plan.config import MODELS
from scripts.memory_plan.plan import peak, plan
from scripts.memory_plan.trial import SMALL, Trial
from training.utils.config.flags import flag, require
from training.utils.process import dist
from training.utils.process.command import run_command

MIB = 2**20
WORK = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "prompt_len": 96,
    "response_len": 16,
}
RESPONSES = {"sft": 1}
SETTINGS: list[dict[str, Any]] = [
    {"precision": "fp32", "zero_stage": 0},
    {"precision": "bf16", "zero_stage": 2},
    {"precision": "fp32", "zero_stage": 0, "gradient_checkpointing": False, "prompt_len": 384},
]
OF_STAGE: dict[str, list[dict[str, Any]]] = {
    "ppo": [{"precision": "bf16", "zero_stage": stage, "offload_idle_models": True} for stage in range(4)]
}


@dataclass(frozen=True)
class MeasureConfig:
    stages: list[str] = flag(list(MODELS), "Stages to try.")
    families: list[str] = flag(list(SMALL), "Families to try.")

    def __post_init__(self) -> None:
        for name, known in (("stages", MODELS), ("families", SMALL)):
            unknown = set(getattr(self, name)) - set(known)
            require(not unknown, f"--{name} {' '.join(unknown)}: unknown; expected {', '.join(known)}")


def main(config: MeasureConfig) -> None:
    logging.disable(logging.WARNING)
    dist.init_distributed(seed=0)
    columns = ("family", "parameters", "stage", "settings", "predicted MiB", "measured MiB", "ratio")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for family in config.families:
        for stage in config.stages:
            for settings in SETTINGS + OF_STAGE.get(stage, []):
                given = WORK | {"num_responses": RESPONSES.get(stage, 2)} | settings
                with Trial(SMALL[family], given | {"stage": stage}) as trial:
                    predicted, measured = peak(trial.config), trial.peak()
                    total = plan(trial.config)[0].parameters.total
                said = ", ".join(f"{name} {value}" for name, value in settings.items())
                figures = f"{predicted / MIB:,.0f} | {measured / MIB:,.0f} | {predicted / measured:.2f}"
                print(f"| {family} | {total / 1e6:.0f} M | {stage} | {said} | {figures} |", flush=True)


if __name__ == "__main__":
    run_command(main, MeasureConfig)
