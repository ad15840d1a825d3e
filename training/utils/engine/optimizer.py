"""AdamW (arXiv 1711.05101) with its groups of weights, and the schedule of its learning rate."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..config.train_config import TrainConfig
from . import cpu_adam
from .schedule import build_schedule


class AdamW(torch.optim.AdamW):
    """Passes over a step where it is told to. DeepSpeed's own optimizers around it do so by themselves, under the
    same name."""

    overflow = False

    def step(self, closure=None):
        return None if self.overflow else super().step(closure)


def build_optimizer(
    module: nn.Module, config: TrainConfig, total_steps: int
) -> tuple[Optimizer, LRScheduler]:
    """The optimizer of what is trained in a model, and its schedule over `total_steps`. All processes must call it:
    they all take the same."""
    groups, betas = _parameter_groups(module, config), (config.adam_beta1, config.adam_beta2)
    if config.offload and config.zero_stage > 0 and cpu_adam.is_usable():
        optimizer = cpu_adam.build_cpu_adam(groups, config.learning_rate, betas)
    else:
        optimizer = AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)
    return optimizer, build_schedule(optimizer, config, total_steps)


def _parameter_groups(module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Trained parameters by learning rate and weight decay: none on biases and norms (one-dimensional)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    embed_rate = config.learning_rate_pretraining_components or config.learning_rate
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rate = embed_rate if "embed" in name else config.learning_rate
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]
