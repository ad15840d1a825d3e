"""DeepSpeed ZeRO behind a small interface. No other file knows DeepSpeed's keys."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import get_scheduler

from . import dist
from .config import TrainConfig
from .data.tree import Batch


@cache
def _deepspeed() -> ModuleType:
    """DeepSpeed, imported where an engine is wanted: that takes seconds."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read when it is imported
    import deepspeed

    # Built at first use by a compiler; a process killed meanwhile leaves a lock that later runs wait for.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(verbose=False)  # takes over the process group that is there
    return deepspeed


class NonFiniteLoss(RuntimeError):
    """The loss of an optimizer step is not a number, or infinite. The weights have not moved."""


class Engine:
    """A model in training: forward, backward, step.

    Losses are sums over what the caller counts, divided by the count of the whole optimizer step over all
    processes and micro-batches. Then the gradient does not depend on how the batch was cut up.
    """

    def __init__(self, module: nn.Module, config: TrainConfig, total_steps: int) -> None:
        """
        Args:
            total_steps: optimizer steps of the whole run, for the learning-rate schedule.
        """
        self.zero_stage = config.zero_stage
        optimizer = torch.optim.AdamW(
            _parameter_groups(module, config),
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            fused=True,
        )
        warmup = config.num_warmup_steps
        scheduler = get_scheduler(
            config.lr_scheduler_type,
            optimizer,
            num_warmup_steps=int(warmup * total_steps if warmup <= 1 else warmup),
            num_training_steps=total_steps,
        )
        self.ds, *_ = _deepspeed().initialize(
            model=module,
            optimizer=optimizer,
            lr_scheduler=scheduler,
            config=_deepspeed_config(config),
        )
        self._loss = torch.zeros((), device=dist.device())
        self.steps = 0

    @property
    def module(self) -> nn.Module:
        return self.ds.module

    @property
    def learning_rate(self) -> float:
        return self.ds.get_lr()[0]

    def __call__(self, *args, **kwargs) -> Tensor:
        return self.ds(*args, **kwargs)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of one micro-batch's share of the loss."""
        self._loss = self._loss + loss.detach()
        # DeepSpeed averages over processes; the loss is already divided by the global count.
        self.ds.backward(loss * dist.world_size(), scale_wrt_gas=False)
        if not self.ds.is_gradient_accumulation_boundary():
            self.ds.step()  # counts the micro-batch, moves nothing

    def step(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Moves the weights. Returns the loss of the whole step, the gradient norm and the learning rate.

        Args:
            batches: what the losses came from.

        Raises:
            NonFiniteLoss: before anything moves; it names the records.
        """
        loss = float(dist.sum_over_ranks(self._loss))
        self._loss = torch.zeros_like(self._loss)
        if loss != loss or loss in (float("inf"), float("-inf")):
            ids = ", ".join(name for batch in batches for name in batch.ids)
            raise NonFiniteLoss(
                f"the loss of optimizer step {self.steps + 1} is {loss}; its records on this process: {ids}; "
                "nothing was saved"
            )
        learning_rate = self.learning_rate
        grad_norm = self._grad_norm() if self.zero_stage == 0 else None  # DeepSpeed does not tell it there
        self.ds.step()
        self.steps += 1
        if grad_norm is None:
            grad_norm = self.ds.get_global_grad_norm() or 0.0
        return {"loss": loss, "grad_norm": float(grad_norm), "lr": learning_rate}

    def _grad_norm(self) -> Tensor:
        gradients = [p.grad.float() for p in self.module.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)

    # -- generation ---------------------------------------------------------------------------------

    @contextmanager
    def whole_weights(self) -> Iterator[nn.Module]:
        """The module with all its weights on this process, once for many forward passes.

        Under ZeRO-3 the weights are gathered, and the hooks that would gather them layer by layer are taken
        off: processes may then make different numbers of forward passes, as in generation.
        """
        if self.zero_stage < 3:
            yield self.module
            return
        offload = self.ds.optimizer.parameter_offload
        with _deepspeed().zero.GatheredParameters(list(self.module.parameters())):
            for hook in [*offload.forward_hooks, *offload.backward_hooks]:
                hook.remove()
            offload.forward_hooks, offload.backward_hooks = [], []
            try:
                yield self.module
            finally:
                offload._register_deepspeed_module(offload.module)

    # -- weights and state --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Whole weights on the CPU, on the main process; empty elsewhere. All processes must call it."""
        if self.zero_stage < 3:
            state = self.module.state_dict() if dist.is_main() else {}
            return {name: tensor.detach().cpu() for name, tensor in state.items()}
        state = {}
        for name, parameter in self.module.named_parameters(remove_duplicate=False):
            with _deepspeed().zero.GatheredParameters([parameter]):
                if dist.is_main():
                    state[name] = parameter.detach().cpu().clone()
        if dist.is_main():
            buffers = {name for name, _ in self.module.named_buffers()}
            state |= {n: t.detach().cpu() for n, t in self.module.state_dict().items() if n in buffers}
        return state

    def save_state(self, folder: Path, client_state: dict[str, Any]) -> None:
        """Everything that training needs to go on: weights, optimizer, schedule, each process's share."""
        self.ds.save_checkpoint(str(folder), tag="engine", client_state={**client_state, "steps": self.steps})

    def load_state(self, folder: Path) -> dict[str, Any]:
        path, client_state = self.ds.load_checkpoint(str(folder), tag="engine")
        if path is None:
            raise FileNotFoundError(f"{folder}: no state of a training run")
        self.steps = client_state.pop("steps")
        return client_state


def inference_engine(module: nn.Module, config: TrainConfig) -> nn.Module:
    """A frozen model on its device; under ZeRO-3 its weights are shared out over the processes."""
    module = module.requires_grad_(False).eval()
    if config.zero_stage < 3:
        return module.to(dist.device())
    engine, *_ = _deepspeed().initialize(model=module, config=_deepspeed_config(config))
    engine.eval()  # DeepSpeed's returns nothing
    return engine


@contextmanager
def sharded_loading(config: TrainConfig) -> Iterator[None]:
    """Where transformers loads a model: under ZeRO-3 straight into this process's share of each weight."""
    if config.zero_stage < 3:
        yield
        return
    _deepspeed()
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    known = HfDeepSpeedConfig(_deepspeed_config(config))  # transformers asks it while it lives
    try:
        yield
    finally:
        del known
        unset_hf_deepspeed_config()


def made_whole(module: nn.Module) -> nn.Module:
    """The module with weights of its own on this process, where they were shared out. All processes must call it."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if hasattr(parameter, "ds_id"):
                with _deepspeed().zero.GatheredParameters([parameter]):
                    whole = parameter.detach().clone()
                setattr(part, name, nn.Parameter(whole, requires_grad=parameter.requires_grad))
    return module


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


def _deepspeed_config(config: TrainConfig) -> dict[str, Any]:
    cpu = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    zero: dict[str, Any] = {
        "stage": config.zero_stage,
        "overlap_comm": torch.cuda.is_available(),
        "contiguous_gradients": True,
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
        "bf16": {"enabled": config.torch_dtype == torch.bfloat16},
        "fp16": {"enabled": config.torch_dtype == torch.float16, "loss_scale_window": 100},
        # A plain torch optimizer everywhere: DeepSpeed's own ones are compiled at first use.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }
