"""Runs of stages, one after the other, on some numbers of processes: `python -m tests.stages.runs RUNS.json`

The file holds, by number of processes, a list of [stage, flags]. Modules are imported once: each process is a fork.
"""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import torch

from scripts.ranks import on_ranks
from training.dpo import train_dpo
from training.ppo import train_ppo
from training.reward_model import train_rm
from training.sft import train_sft
from training.utils.config.arguments import parse_args
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig

STAGES = {
    "sft": (train_sft.main, SFTConfig),
    "reward_model": (train_rm.main, RewardConfig),
    "dpo": (train_dpo.main, DPOConfig),
    "ppo": (train_ppo.main, PPOConfig),
}


def train(stage: str, flags: list[object]) -> None:
    main, config_class = STAGES[stage]
    config = parse_args(config_class, [str(flag) for flag in flags])
    torch.manual_seed(config.seed)  # a new value head
    with patch("training.utils.loop.meter.draw_curves"):  # which takes longer than the run
        main(config)


def train_on(processes: int, runs: list[tuple[str, list[object]]]) -> None:
    """Raises RuntimeError where a process fails."""
    if not on_ranks(processes, lambda: [train(*one) for one in runs]):
        raise RuntimeError(f"runs on {processes} processes failed")


if __name__ == "__main__":
    for number, runs in json.loads(Path(sys.argv[1]).read_text()).items():
        train_on(int(number), runs)
