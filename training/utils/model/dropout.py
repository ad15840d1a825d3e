"""Dropout (Srivastava et al. 2014) of models of transformers: where it acts in training."""

from torch import nn
from transformers import PretrainedConfig


def disable_dropout(module: nn.Module) -> None:
    """Drops nothing out any more, in training mode either.

    Attention layers of transformers keep their rate as a number, others are layers of their own; of both kinds the
    attribute's name tells, as in `attention_dropout`, `p` of `nn.Dropout` and `drop_prob` of stochastic depth.
    """
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
        for name, value in vars(part).items():
            if "drop" in name and isinstance(value, float):
                setattr(part, name, 0.0)


def has_dropout(config: PretrainedConfig) -> bool:
    """Whether a config gives a rate at which something is dropped out in training."""
    return any("drop" in name and isinstance(rate, float) and rate > 0 for name, rate in vars(config).items())


def disable_frozen_dropout(module: nn.Module) -> None:
    """Parts without a trained weight run as in evaluation; their mode can stay that of training, which
    gradient checkpointing needs."""
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            disable_dropout(part)
