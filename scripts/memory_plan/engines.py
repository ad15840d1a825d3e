"""Memory that a model takes in its engine: weights, gradients, optimizer state, and what DeepSpeed adds.

Weights, gradients and optimizer state follow from the number of parameters (arXiv 1910.02054, section 3). What stands
in buffers and copies was read in DeepSpeed 0.19: `scripts/measure_memory.py` holds it against what is there.
"""

from dataclasses import dataclass

from scripts.memory_plan.config import WEIGHT_BYTES, PlanConfig
from training.utils.engine.zero import bucket_sizes

MASTER, MOMENTS = 4, 8  # bytes of a trained weight: an fp32 copy, and AdamW's two moments
ALL_REDUCED = 5 * 10**8  # elements that DeepSpeed copies at a time to add up gradients, without buckets
LIVE = 10**9  # elements that ZeRO-3 gathers at most: DeepSpeed's max_live_parameters


@dataclass(frozen=True)
class EngineMemory:
    """Bytes on each GPU. `weights` and `optimizer` are there all the time, and with some ZeRO stages `gradients`."""

    weights: float = 0
    common: float = 0  # of them: a tower that other models have, too
    gradients: float = 0
    optimizer: float = 0
    keeps_gradients: bool = False  # their memory between steps, too
    passing: float = 0  # besides, in forward and backward pass: buckets, gathered weights
    stepping: float = 0  # besides, while the optimizer moves the weights
    on_cpu: float = 0  # in CPU memory for each GPU, all the time

    @property
    def own(self) -> float:
        """Weights that no other model has."""
        return self.weights - self.common

    @property
    def held(self) -> float:
        """What is there between steps, without what other models have, too."""
        return self.own + self.optimizer + (self.gradients if self.keeps_gradients else 0)

    @property
    def in_step(self) -> float:
        """Gradients that are there from the first backward pass to the optimizer's step."""
        return 0 if self.keeps_gradients else self.gradients


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
    common = size * whole
    offload = config.offload and stage > 0
    sums = WEIGHT_BYTES[config.grad_accum_dtype] * trained
    state = 0 if offload else (MASTER + MOMENTS) * trained / share
    bucket = size * bucket_sizes(hidden_size)["reduce_bucket_size"]
    on_cpu = (MASTER + MOMENTS) * trained / share + (sums / share if stage > 1 else 0) if offload else 0
    if stage == 3:
        on_cpu += size * shared / share if config.offload_params else 0
        weights = common + (0 if config.offload_params else size * shared / share)
        gathered = size * min(shared, LIVE) if share > 1 or config.offload_params else 0
        if not trained:
            return EngineMemory(weights, common, passing=gathered, on_cpu=on_cpu)
        passing = gathered + bucket
        if offload:  # the sums of gradients are there too
            return EngineMemory(weights, common, passing=passing, on_cpu=on_cpu)
        step = 4 * trained / share
        return EngineMemory(weights, common, sums / share, state, True, passing, step, on_cpu)
    weights = common + size * shared
    if not trained:
        return EngineMemory(weights, common)
    if stage == 0:
        fp32 = size == 4  # then the weights are their own master copy
        state = (MOMENTS if fp32 else MASTER + MOMENTS) * trained
        stepping = size * min(trained, ALL_REDUCED) if fp32 else 4 * trained
        return EngineMemory(weights, common, size * trained, state, stepping=stepping)
    half = size * trained < sums  # then a step has no fp32 copy of the gradients to make
    stepping = 0 if offload else (size if half else 4) * trained / share
    if stage == 1 and half and not offload:
        return EngineMemory(weights, common, sums, state, keeps_gradients=True, stepping=stepping)
    gradients = sums if stage == 1 else 0 if offload else sums / share
    buckets = (2 if share > 1 else 1) * bucket  # one is sent while the other is filled
    return EngineMemory(weights, common, gradients, state, False, buckets, stepping, on_cpu)
