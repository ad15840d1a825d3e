"""Memory that a model takes in its engine: weights, gradients, optimizer state, and what DeepSpeed adds.

Weights, gradients and optimizer state follow from the number of parameters (arXiv 1910.02054, section 3). What stands
in buffers and copies was read in DeepSpeed 0.19: `scripts/measure_memory.py` holds it against what is there.
"""

from dataclasses import dataclass

from scripts.memory_plan.config import WEIGHT_BYTES, PlanConfig
from training.utils.zero import bucket_sizes

MASTER, MOMENTS = 4, 8  # bytes of a trained weight: an fp32 copy, and AdamW's two moments
ALL_REDUCED = 5 * 10**8  # elements that DeepSpeed copies at a time to add up gradients, without buckets
LIVE = 10**9  # elements that ZeRO-3 gathers at most: DeepSpeed's max_live_parameters


@dataclass(frozen=True)
class EngineMemory:
    """Bytes on each GPU. `weights`, `gradients` and `optimizer` are there all the time."""

    weights: float = 0
    gradients: float = 0
    optimizer: float = 0
    passing: float = 0  # besides, in forward and backward pass: buckets, gathered weights
    stepping: float = 0  # besides, while the optimizer moves the weights

    @property
    def held(self) -> float:
        return self.weights + self.gradients + self.optimizer


def engine_memory(
    whole: int, shared: int, trained: int, hidden_size: int, config: PlanConfig
) -> EngineMemory:
    """The memory of one model.

    Args:
        whole: parameters that each GPU holds whole: those of a frozen tower.
        shared: all others.
        trained: those of them that get gradients.
        hidden_size: of the language model.
    """
    stage, size, share = config.zero_stage, config.weight_bytes, config.num_gpus
    accumulator = WEIGHT_BYTES[config.grad_accum_dtype]
    bucket = size * bucket_sizes(hidden_size)["reduce_bucket_size"]
    offload = config.offload and stage > 0
    optimizer = 0 if offload else MASTER + MOMENTS
    copied = min(trained, ALL_REDUCED)
    if stage == 3:
        weights = 0 if config.offload_params else size * shared / share
        gathered = size * min(shared, LIVE) if share > 1 or config.offload_params else 0
        held = [size * whole + weights, accumulator * trained / share, optimizer * trained / share]
        if not trained:
            return EngineMemory(*held, passing=gathered)
        return EngineMemory(*held, passing=gathered + bucket, stepping=4 * trained / share)
    weights = size * (whole + shared)
    if not trained:
        return EngineMemory(weights)
    if stage == 0 and size == 4:
        return EngineMemory(weights, size * trained, MOMENTS * trained, stepping=size * copied)
    if stage == 0:
        return EngineMemory(weights, size * trained, optimizer * trained, stepping=4 * trained)
    half = (
        size < accumulator
    )  # 16-bit weights whose gradients are added up in fp32 need no copy of them to step
    stepping = (size if half else 4) * trained / share
    if stage == 1 and half and not offload:
        held = (weights, accumulator * trained, optimizer * trained / share)
        return EngineMemory(*held, stepping=stepping)
    buckets = (2 if share > 1 else 1) * bucket  # one is sent while the other is filled
    gradients = 0 if offload else accumulator * trained / (share if stage == 2 else 1)
    return EngineMemory(weights, gradients, optimizer * trained / share, passing=buckets, stepping=stepping)
