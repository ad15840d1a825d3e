"""This project's side: a stage's own `main`, in this process."""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from scripts.bench_trl.setting import STEPS, Case, flags_of
from scripts.bench_trl.steps import Steps
from training.dpo import train_dpo
from training.ppo import train_ppo
from training.reward_model import train_rm
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig
from training.utils.loop.meter import Meter
from training.utils.model.family import Family
from training.utils.process import dist

MAINS = {DPOConfig: train_dpo.main, RewardConfig: train_rm.main, PPOConfig: train_ppo.main}


def train(case: Case, model: Path, as_rows: bool = False) -> Steps:
    """
    Args:
        as_rows: with a row for each answer, the picture in each, as for families that take no trees.
    """
    dist.init_distributed(seed=0)
    steps = Steps()
    log = Meter.step

    def logged(meter: Meter, step: int, **figures: float) -> None:
        log(meter, step, **figures)
        steps.losses.append(figures.get("loss", figures.get("policy_loss")))
        steps.mark()

    with (
        TemporaryDirectory() as folder,
        patch.object(Meter, "step", logged),
        patch.object(Family, "takes_trees", not as_rows),
    ):
        MAINS[case.stage](flags_of(case, model, Path(folder)))
    dist.shutdown()
    return steps.of_last_epoch(STEPS)
