"""The learning rate over the steps of a run."""

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from ..config.train_config import TrainConfig


def build_schedule(optimizer: Optimizer, config: TrainConfig, num_updates: int) -> LRScheduler:
    """The schedule of a run of `num_updates` optimizer updates, by its name in transformers."""
    warmup = config.num_warmup_steps
    return get_scheduler(
        config.lr_scheduler_type,
        optimizer,
        num_warmup_steps=int(warmup * num_updates if warmup <= 1 else warmup),
        num_training_steps=num_updates,
    )


def same_until(step: int, config: TrainConfig, before: int, now: int) -> bool:
    """Whether runs of `before` and of `now` steps have the same learning rates in their first `step` steps.

    And in the update that follows: its rate is part of a checkpoint.

    They have with a constant schedule; with one that ends, as the cosine, only while it warms up.
    """

    def factors(num_steps: int) -> list[float] | None:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        schedule = build_schedule(optimizer, config, num_steps * config.updates_per_step)
        if not hasattr(schedule, "lr_lambdas"):
            return None  # it depends on more than the step
        return [schedule.lr_lambdas[0](update) for update in range(step * config.updates_per_step + 1)]

    return (known := factors(before)) is not None and known == factors(now)
