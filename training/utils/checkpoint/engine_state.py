"""The state of an engine in training: what a process alone knows, as tensors, and what all know, as plain values."""

from collections.abc import Callable, Container
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..engine.counts import Counts
from ..engine.engine import Engine
from ..engine.shares import MOMENTS, loss_scale, refresh_weights, set_loss_scale, shares
from ..process import dist

MASTER, BUFFER = "master", "buffer"
# Gives elements of a flattened tensor by its kind and name, the first one's place and their number, [n].
Read = Callable[[str, str, int, int], Tensor]


def fragments(engine: Engine, elsewhere: Container[str] = ()) -> dict[str, Tensor]:
    """Flat views of what training has changed and this process has to keep, by `KIND/NAME@START`: masters and moments
    of its shares, and on the main process the buffers.

    Args:
        elsewhere: names of weights whose masters are kept elsewhere.
    """
    found = {}
    if dist.is_main():
        found = {f"{BUFFER}/{name}@0": tensor.flatten() for name, tensor in engine.buffers().items()}
    if engine.zero_stage == 0 and not dist.is_main():
        return found  # each process has all of them
    for share in shares(engine.ds):
        moments = engine.adamw.state.get(share.holder, {})  # none before the first step
        parts = {} if share.name in elsewhere else {MASTER: share.holder}
        parts |= {kind: moments[kind] for kind in MOMENTS if kind in moments}
        found |= {f"{kind}/{share.name}@{share.start}": share.of(whole) for kind, whole in parts.items()}
    return found


def facts(engine: Engine) -> dict[str, Any]:
    """The number of updates, the place in the schedule, how the loss is scaled, and what became of the steps."""
    moments = engine.adamw.state.values()
    return {
        "updates": max((float(state["step"]) for state in moments if "step" in state), default=0.0),
        "rates": [group["lr"] for group in engine.adamw.param_groups],
        "schedule": engine.ds.lr_scheduler.state_dict(),
        "loss_scale": loss_scale(engine.ds),
        "counts": asdict(engine.counts),
    }


@torch.no_grad()
def restore(engine: Engine, known: dict[str, Any], read: Read) -> None:
    """Lets an engine go on from `facts` and `fragments`, whatever processes and ZeRO stage they came from. All
    processes must call it."""
    for share in shares(engine.ds):
        place = share.name, share.start, share.numel
        share.of(share.holder).copy_(read(MASTER, *place))
        state = engine.adamw.state[share.holder]
        if known["updates"] and not state:
            state |= {kind: torch.zeros_like(share.holder) for kind in MOMENTS}
        if state:
            state["step"] = torch.tensor(known["updates"], dtype=torch.float32, device=share.holder.device)
        for kind in MOMENTS if known["updates"] else ():
            share.of(state[kind]).copy_(read(kind, *place))
    refresh_weights(engine.ds)
    for name, buffer in engine.buffers().items():
        buffer.copy_(read(BUFFER, name, 0, buffer.numel()).view_as(buffer))
    engine.ds.lr_scheduler.load_state_dict(known["schedule"])
    for group, rate in zip(engine.adamw.param_groups, known["rates"], strict=True):
        group["lr"] = rate
    set_loss_scale(engine.ds, known["loss_scale"])
    engine.counts = Counts(**known["counts"])
