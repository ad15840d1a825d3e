"""A model in training, with DeepSpeed ZeRO behind a small interface."""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from ..config.train_config import TrainConfig
from ..data.tree import Batch
from ..process import dist
from .counts import Counts
from .offload import Resting, RestOfTrained, activations_on_cpu
from .optimizer import build_optimizer
from .shares import begin_anew
from .zero import deepspeed, deepspeed_config, hidden_size


class Engine:
    """A model in training: forward, backward, step.

    Losses are sums over what the caller counts, divided by the count of the whole optimizer step over all
    processes and micro-batches. Then the gradient does not depend on how the batch was cut up.

    The engine alone sets the mode: the model is in training mode, so that it recomputes activations and drops out
    what it is told to, except within `evaluating`.
    """

    def __init__(self, module: nn.Module, config: TrainConfig, total_steps: int, rests: bool = False) -> None:
        """
        Args:
            total_steps: optimizer steps of the whole run, for the learning-rate schedule.
            rests: in CPU memory, and is on the device only within `working`.
        """
        self.zero_stage = config.zero_stage
        self.max_bad_steps = config.max_bad_steps
        self.scales_loss = config.torch_dtype == torch.float16
        self.adamw, scheduler = build_optimizer(module, config, total_steps)
        self.ds, *_ = deepspeed().initialize(
            model=module,
            optimizer=self.adamw,
            lr_scheduler=scheduler,
            config=deepspeed_config(config, hidden_size(module)),
        )
        begin_anew(self.ds)
        self.module.train()  # transformers loads models in evaluation mode
        self._keeping = activations_on_cpu if config.offload_activations else nullcontext
        self.accumulation = config.gradient_accumulation_steps  # micro-batches of an optimizer step
        self._losses: list[Tensor] = []  # of the micro-batches since the last step
        self.counts = Counts()
        self.rest = RestOfTrained(self.ds, self.adamw) if rests else None

    @property
    def module(self) -> nn.Module:
        return self.ds.module

    @property
    def is_training(self) -> bool:
        return self.module.training

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """For evaluation and sampling: nothing is dropped out or recomputed."""
        before = self.module.training
        self.module.eval()
        try:
            yield
        finally:
            self.module.train(before)

    def working(self, steps: bool = False) -> AbstractContextManager[None]:
        """Where a model that rests otherwise is on the device: once for many calls. What takes no gradient sees to it
        by itself, too.

        Args:
            steps: with what moves the weights. From a forward pass with gradients to the step.
        """
        return self.rest.working(steps) if self.rest else nullcontext()

    @property
    def learning_rate(self) -> float:
        return self.ds.get_lr()[0]

    def __call__(self, *args, **kwargs) -> Tensor:
        with self.working(), self._keeping():
            return self.ds(*args, **kwargs)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of one micro-batch's share of the loss. A step takes `accumulation` of them."""
        self._require_all_of_it()
        self._losses.append(loss.detach().double())
        self.ds.set_gradient_accumulation_boundary(len(self._losses) == self.accumulation)
        # DeepSpeed averages over processes; the loss is already divided by the global count. One that is not finite
        # makes each gradient so, whatever its own would have been: then no process moves.
        scale = torch.where(loss.detach().isfinite(), dist.world_size(), math.nan)
        self.ds.backward(loss * scale, scale_wrt_gas=False)

    def step(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Moves the weights, unless the loss or the gradient is not finite: all processes decide alike.

        Args:
            batches: what the losses came from, in order.

        Returns:
            The loss of the whole step, the gradient norm and the learning rate; and how many steps have been passed
            over so far, if any.

        Raises:
            NonFiniteLoss: more than `max_bad_steps` in a row moved nothing; it names the records.
        """
        self._require_all_of_it()
        loss = float(dist.sum_over_ranks(sum(self._losses)))
        learning_rate = self.learning_rate
        grad_norm = self._grad_norm() if self.zero_stage == 0 else None  # DeepSpeed does not tell it there
        if self.ds.optimizer is self.adamw:  # ZeRO-0 in fp32: nothing of DeepSpeed's looks at the gradient
            self.adamw.overflow = not math.isfinite(loss + grad_norm)
        self.ds.step()
        self.counts.steps += 1
        if grad_norm is None:
            grad_norm = self.ds.get_global_grad_norm() or 0.0
        if self.ds.was_step_applied():
            self.counts.bad_in_a_row = 0
        elif self.scales_loss and math.isfinite(loss):
            self.counts.overflows += 1
        else:
            self.counts.pass_over(loss, self._losses, batches, self.max_bad_steps)
        self._losses = []
        figures = {"loss": loss, "grad_norm": float(grad_norm), "lr": learning_rate}
        return figures | self.counts.shown

    def stay(self, why: str) -> dict[str, float]:
        """A step in which there is nothing to learn from. A step of zero gradients would go on where the moments of
        AdamW point to; so weights, moments and schedule stay as they are. All processes must call it.

        Args:
            why: for the warning.
        """
        self.counts.steps += 1
        self.counts.pass_by(why)
        return {"lr": self.learning_rate} | self.counts.shown

    def _require_all_of_it(self) -> None:
        if self.rest and not self.rest.state.works:
            raise RuntimeError("the engine rests; expected backward and step within its working(steps=True)")

    def _grad_norm(self) -> float:
        gradients = [p.grad.float() for p in self.module.parameters() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))

    # -- generation ---------------------------------------------------------------------------------

    @contextmanager
    def whole_weights(self) -> Iterator[nn.Module]:
        """The module with all its weights on this process, once for many forward passes.

        Under ZeRO-3 the weights are gathered, and the hooks that would gather them layer by layer are taken
        off: processes may then make different numbers of forward passes, as in generation.
        """
        if self.zero_stage < 3:
            with self.working():
                yield self.module
            return
        offload = self.ds.optimizer.parameter_offload
        with self.working(), deepspeed().zero.GatheredParameters(list(self.module.parameters())):
            for hook in [*offload.forward_hooks, *offload.backward_hooks]:
                hook.remove()
            offload.forward_hooks, offload.backward_hooks = [], []
            try:
                yield self.module
            finally:
                offload._register_deepspeed_module(offload.module)

    # -- weights and state --------------------------------------------------------------------------

    def state_dict(self, copies: bool = True) -> dict[str, Tensor]:
        """Whole weights on the CPU, on the main process; empty elsewhere. All processes must call it.

        Args:
            copies: of what training changes, so that it stays as it is now. ZeRO-3 gives copies always, and so does
                an engine that rests.
        """

        def on_cpu(tensor: Tensor) -> Tensor:
            is_frozen = isinstance(tensor, nn.Parameter) and not tensor.requires_grad
            return tensor.detach().to("cpu", copy=bool(self.rest) or copies and not is_frozen)

        with self.working():
            if self.zero_stage < 3:
                state = self.module.state_dict(keep_vars=True) if dist.is_main() else {}
                once = {id(tensor): on_cpu(tensor) for tensor in state.values()}
                return {name: once[id(tensor)] for name, tensor in state.items()}  # tied weights stay one
            once = {}
            for parameter in self.module.parameters():
                with deepspeed().zero.GatheredParameters([parameter]):
                    once[id(parameter)] = parameter.detach().cpu().clone() if dist.is_main() else None
            state = {}
            if dist.is_main():
                named = self.module.named_parameters(remove_duplicate=False)
                state = {name: once[id(parameter)] for name, parameter in named}
                state |= {name: on_cpu(tensor) for name, tensor in self.buffers().items()}
            return state

    @property
    def trained_bytes(self) -> int:
        """What whole copies of the trained weights take; under ZeRO-3 a process has a part of each."""
        trained = [p for p in self.module.parameters() if p.requires_grad]
        return sum(getattr(p, "ds_numel", p.numel()) * p.element_size() for p in trained)

    def buffers(self) -> dict[str, Tensor]:
        """Tensors beside the weights that a saved model has."""
        saved = self.module.state_dict().keys()
        return {name: tensor for name, tensor in self.module.named_buffers() if name in saved}


def inference_engine(module: nn.Module, config: TrainConfig, rests: bool = False) -> nn.Module:
    """A frozen model on its device; under ZeRO-3 its weights are shared out over the processes.

    Args:
        rests: in CPU memory, and is on the device only while it works.
    """
    module = module.requires_grad_(False).eval()
    if config.zero_stage < 3:
        module = module.to(dist.device())
    else:
        module, *_ = deepspeed().initialize(
            model=module, config=deepspeed_config(config, hidden_size(module))
        )
        module.eval()  # DeepSpeed's returns nothing
    return Resting(module) if rests else module
