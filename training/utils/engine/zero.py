"""DeepSpeed: its import, its configuration, and models whose weights it shares out. No other file knows its keys."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..config.train_config import TrainConfig

MIN_BUCKET_LEN = 2**20  # elements: fewer would be many small messages


@cache
def deepspeed() -> ModuleType:
    """DeepSpeed, imported where an engine is wanted: that takes seconds."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read when it is imported
    import deepspeed

    # Built at first use by a compiler; a process killed meanwhile leaves a lock that later runs wait for.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(verbose=False)  # takes over the process group that is there
    return deepspeed


def bucket_sizes(hidden_size: int) -> dict[str, int]:
    """How many elements DeepSpeed moves at a time, by the width of the language model: as transformers sets what is
    `auto` in a configuration. DeepSpeed's own 5e8 are buffers of 1 to 4 GB for each engine, whatever the model.
    """
    square = max(hidden_size**2 // 2 * 2, MIN_BUCKET_LEN)
    return {
        "reduce_bucket_size": square,
        "allgather_bucket_size": square,
        "stage3_prefetch_bucket_size": 9 * square // 10,
        "stage3_param_persistence_threshold": 10 * hidden_size,  # smaller weights stay whole on each process
    }


def hidden_size(module: nn.Module) -> int:
    """Of the language model in a policy or a value model."""
    return module.model.config.get_text_config().hidden_size


def deepspeed_config(config: TrainConfig, hidden_size: int) -> dict[str, Any]:
    """What DeepSpeed is told, by its own keys.

    Args:
        hidden_size: of the language model.
    """
    cpu = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    zero: dict[str, Any] = {
        "stage": config.zero_stage,
        "overlap_comm": torch.cuda.is_available(),
        "contiguous_gradients": True,
        **bucket_sizes(hidden_size),
    }
    if config.offload and config.zero_stage > 0:
        zero["offload_optimizer"] = cpu
    if config.offload_params and config.zero_stage == 3:
        zero["offload_param"] = cpu
    return {
        "train_micro_batch_size_per_gpu": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": zero,
        # With ZeRO-1 each 16-bit gradient goes into the sum as it comes: no second copy of all of them.
        "bf16": {"enabled": config.torch_dtype == torch.bfloat16, "immediate_grad_update": True},
        "fp16": {"enabled": config.torch_dtype == torch.float16, "loss_scale_window": 100},
        # Without ZeRO the sum stays in `grad` of the weights, so in their own precision: nothing else is taken.
        "data_types": {"grad_accum_dtype": config.grad_accum_dtype} if config.zero_stage > 0 else {},
        # A plain torch optimizer everywhere: DeepSpeed's own ones are compiled at first use.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


@contextmanager
def sharded_loading(config: TrainConfig, hidden_size: int) -> Iterator[None]:
    """Where transformers loads a model: under ZeRO-3 straight into this process's share of each weight."""
    if config.zero_stage < 3:
        yield
        return
    deepspeed()
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    known = HfDeepSpeedConfig(deepspeed_config(config, hidden_size))  # transformers asks it while it lives
    try:
        yield
    finally:
        del known
        unset_hf_deepspeed_config()


def gathered(module: nn.Module) -> AbstractContextManager:
    """Where the module's weights are whole on this process. All processes must enter it."""
    shared = [parameter for parameter in module.parameters() if hasattr(parameter, "ds_id")]
    return deepspeed().zero.GatheredParameters(shared) if shared else nullcontext()


def made_whole(module: nn.Module) -> nn.Module:
    """The module with weights of its own on this process, where they were shared out. All processes must call it."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if hasattr(parameter, "ds_id"):
                with deepspeed().zero.GatheredParameters([parameter]):
                    whole = parameter.detach().clone()
                setattr(part, name, nn.Parameter(whole, requires_grad=parameter.requires_grad))
    return module


def let_go(engine: nn.Module) -> None:
    """Shares out again what ZeRO-3 has gathered of a model, as it does with some weights for as long as it can."""
    optimizer = getattr(engine, "optimizer", None)
    if hasattr(optimizer, "empty_partition_cache"):
        optimizer.empty_partition_cache()
