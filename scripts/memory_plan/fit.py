"""The fastest settings whose predicted memory fits a GPU.

How much slower a setting makes a step is a rough factor, for choosing among settings and for nothing else:
recomputing adds a forward pass to a step of three (4/3), ZeRO-3 half of the communication (arXiv 1910.02054, section
7); the rest is what copies between GPU and CPU usually cost. All activations of a layer are many, its input alone is
little. LoRA trains another model, so nobody gets it unasked.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import inf, log2

from scripts.memory_plan.config import GIB, PlanConfig
from scripts.memory_plan.plan import on_cpu, peak
from training.utils.config.flags import require

SPARE = 0.9  # of a GPU's memory is planned with: the allocator loses some, and libraries take some
SLOWER = {
    "gradient_checkpointing": 1.33,
    "offload_activations": 1.1,
    "offload_idle_models": 1.3,
    "offload": 1.6,
    "offload_params": 2.5,
}
SLOWER_WHOLE = 2.0  # offloaded activations that are not recomputed
SLOWER_ZERO = {0: 1.0, 1: 1.01, 2: 1.02, 3: 1.3}
SLOWER_HALF = 1.1  # a micro-batch of half the size
LORA_DIM = 64
MOST_GPUS = 1024


@dataclass(frozen=True)
class Fitting:
    """Settings, and the bytes they take."""

    config: PlanConfig
    peak: float


def memory_of(text: str, flag: str = "fit", whose: str = "of a GPU") -> float:
    """Bytes of memory as it is sold: a 24GB card has 24 GiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:GB|GiB|G)?", text.strip(), re.IGNORECASE)
    require(
        bool(found) and float(found[1]) > 0, f"--{flag} {text}: expected the memory {whose}, such as 24GB"
    )
    return float(found[1]) * GIB


def slowness(config: PlanConfig, largest: int) -> float:
    """How much slower a step is than the fastest, roughly.

    Args:
        largest: micro-batch that is asked for.
    """
    factor = SLOWER_ZERO[config.zero_stage]
    factor *= SLOWER_HALF ** log2(largest / config.per_device_train_batch_size)
    for name, slower in SLOWER.items():
        factor *= slower if getattr(config, name) else 1
    return factor * (SLOWER_WHOLE if config.offload_activations and not config.gradient_checkpointing else 1)


def settings(config: PlanConfig) -> Iterator[PlanConfig]:
    """All settings that train the same with the same records, and for which the CPU memory is enough; the fastest
    first."""
    outside = memory_of(config.cpu_memory, "cpu_memory", "for each GPU") if config.cpu_memory else inf
    largest = config.per_device_train_batch_size
    sizes = [size for size in range(largest, 0, -1) if largest % size == 0]  # a step keeps its records
    named = list(SLOWER)
    found = []
    for size, stage, *chosen in product(sizes, range(4), *[(False, True)] * len(named)):
        on = dict(zip(named, chosen, strict=True))
        if on["offload"] and stage == 0 or on["offload_params"] and stage < 3:
            continue
        if on["offload_idle_models"] and config.stage != "ppo":
            continue
        accumulated = config.gradient_accumulation_steps * (largest // size)
        batch = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulated}
        each = replace(config, zero_stage=stage, **batch, **on)
        if outside == inf or on_cpu(each) <= outside:
            found.append(each)
    yield from sorted(found, key=lambda each: slowness(each, largest))


def fastest(config: PlanConfig, memory: float) -> Fitting | None:
    """The fastest settings that fit; none if none do."""
    for each in settings(config):
        if (needed := peak(each)) <= SPARE * memory:
            return Fitting(each, needed)
    return None


def smallest(config: PlanConfig) -> Fitting:
    """The settings that take the least memory."""
    return min((Fitting(each, peak(each)) for each in settings(config)), key=lambda found: found.peak)


def flags(config: PlanConfig) -> list[str]:
    """Settings as flags of the stage's own script."""
    given = [f"--per_device_train_batch_size {config.per_device_train_batch_size}"]
    given.append(f"--gradient_checkpointing {config.gradient_checkpointing}")
    is_ppo = config.stage == "ppo"
    for name in ("actor_zero_stage", "critic_zero_stage") if is_ppo else ("zero_stage",):
        given.append(f"--{name} {config.zero_stage}")
    if config.offload:
        given += ["--offload_actor_model", "--offload_critic_model"] if is_ppo else ["--offload"]
    for name in ("offload_params", "offload_activations", "offload_idle_models"):
        given += [f"--{name}"] if getattr(config, name) else []
    if config.rollout_batch_size:
        given.append(f"--rollout_batch_size {config.rollout_batch_size}")
    if config.lang_lora_dim:
        given.append(f"--lang_lora_dim {config.lang_lora_dim}")
    return given


def advice(config: PlanConfig, memory: float) -> list[str]:
    """What would fit where nothing does, one proposal each."""
    proposals = []
    gpus = config.num_gpus
    while gpus < MOST_GPUS:
        gpus *= 2
        if found := fastest(replace(config, num_gpus=gpus), memory):
            proposals.append(f"{gpus} GPUs: {' '.join(flags(found.config))}")
            break
    if not config.lang_lora_dim and (found := fastest(replace(config, lang_lora_dim=LORA_DIM), memory)):
        proposals.append(
            f"adapters in place of the language model's weights, which trains another model: "
            f"{' '.join(flags(found.config))}"
        )
    least = smallest(config)
    proposals.append(f"a GPU of {least.peak / SPARE / GIB:.0f} GB: {' '.join(flags(least.config))}")
    return proposals
