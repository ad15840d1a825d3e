"""Which part of each trained weight's optimizer state a process holds, and where DeepSpeed keeps it.

AdamW steps on fp32 masters of the weights. Without ZeRO each process holds all of them; with it they are cut up, and
each process holds some elements of some weights. A share says which, whatever the stage, so a state that was saved by
shares can be read by others (as in arXiv 2406.18820).
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ..process import dist

MOMENTS = ("exp_avg", "exp_avg_sq")
SCALE = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")  # of the loss, with fp16


@dataclass(frozen=True)
class Share:
    """Elements of a trained weight whose master and moments are on this process."""

    name: str  # of the weight
    start: int  # the first one's place in the flattened weight
    numel: int
    holder: Tensor  # what AdamW steps on: the master, or many of them flattened into one
    offset: int  # the first one's place in the flattened holder

    def of(self, tensor: Tensor) -> Tensor:
        """A view of these elements of the holder, or of a tensor of its form, [numel]."""
        return tensor.detach().view(-1)[self.offset : self.offset + self.numel]


def shares(engine: Any) -> list[Share]:
    """What this process holds of a DeepSpeed engine's trained weights."""
    optimizer = engine.optimizer
    trained = {name: p for name, p in engine.module.named_parameters() if p.requires_grad}
    if hasattr(optimizer, "fp32_partitioned_groups_flat"):
        found = [_of_stage_3(optimizer, name, parameter) for name, parameter in trained.items()]
    elif any(hasattr(parameter, "_hp_mapping") for parameter in trained.values()):
        found = [_of_stage_1_or_2(optimizer, name, parameter) for name, parameter in trained.items()]
    else:
        masters = _masters(optimizer)
        found = [Share(name, 0, p.numel(), masters.get(p, p), 0) for name, p in trained.items()]
    return [share for share in found if share and share.numel > 0]


def _of_stage_3(optimizer: Any, name: str, parameter: nn.Parameter) -> Share:
    """Each process has as many elements; the last ones may be padding."""
    group, offset, length = optimizer.grad_position[optimizer.get_param_id(parameter)]
    start = dist.rank() * length
    numel = min(length, prod(parameter.ds_shape) - start)
    return Share(name, start, numel, optimizer.fp32_partitioned_groups_flat[group], offset)


def _of_stage_1_or_2(optimizer: Any, name: str, parameter: nn.Parameter) -> Share | None:
    """A group's weights lie one behind the other in one tensor, and each process has a part of that."""
    place = parameter._hp_mapping
    if place is None:
        return None
    parts = getattr(optimizer, "fp32_groups_flat_partition", None)  # of its optimizer for bf16 at stage 1
    holder = (parts or optimizer.single_partition_of_fp32_groups)[place.param_group_index]
    start, numel = place.lp_fragment_address.start, place.lp_fragment_address.numel
    return Share(name, start, numel, holder, place.hp_fragment_address.start)


def _masters(optimizer: Any) -> dict[nn.Parameter, Tensor]:
    """The master of each weight without ZeRO; none in fp32, where the weight itself is it."""
    if not hasattr(optimizer, "fp32_groups"):
        return {}
    groups = zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True)
    return {p: master for group in groups for p, master in zip(*group, strict=True)}


@torch.no_grad()
def begin_anew(engine: Any) -> None:
    """Undoes the step that DeepSpeed makes on zeros without ZeRO in 16 bit, to have moments: AdamW would count it in
    its bias correction, and has decayed the masters."""
    if masters := _masters(engine.optimizer):
        engine.basic_optimizer.state.clear()
        for parameter, master in masters.items():
            master.copy_(parameter)


@torch.no_grad()
def refresh_weights(engine: Any) -> None:
    """Sets the weights that a model computes with to their masters. All processes must call it."""
    optimizer = engine.optimizer
    if hasattr(optimizer, "fp32_partitioned_groups_flat"):
        optimizer.checkpoint_event_prologue()  # small weights are kept whole on each process
        for group in range(len(optimizer.fp32_partitioned_groups_flat)):
            optimizer._reassign_or_swap_out_partitioned_parameters(group)
        optimizer.checkpoint_event_epilogue()
    elif hasattr(optimizer, "update_lp_params"):
        optimizer.update_lp_params()
    else:
        for parameter, master in _masters(optimizer).items():
            parameter.copy_(master)


def loss_scale(engine: Any) -> dict[str, Any]:
    """How the loss is scaled with fp16, and when that changes next."""
    scaler = _scaler(engine)
    return {name: getattr(scaler, name) for name in SCALE if hasattr(scaler, name)}


def set_loss_scale(engine: Any, scale: dict[str, Any]) -> None:
    scaler = _scaler(engine)
    for name, value in scale.items():
        if hasattr(scaler, name):
            setattr(scaler, name, value)


def _scaler(engine: Any) -> Any:
    optimizer = engine.optimizer
    return getattr(optimizer, "loss_scaler", None) or getattr(optimizer, "loss_scale_config", None)
