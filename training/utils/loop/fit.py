"""The loop of the stages that learn from given responses: SFT, reward model, DPO."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ..checkpoint.run import Run
from ..config.train_config import TrainConfig
from ..data.loader import Data, eval_batches, flow, step_batches
from ..data.tree import Batch
from ..engine.engine import Engine
from ..process import dist
from .image_effect import image_effect_once
from .meter import Meter
from .pace import Pace
from .tally import Figures, Tally

# The losses of a batch, one for each token, prompt or pair that the mean is taken over, and figures to show.
LossFunction = Callable[[Batch], tuple[Tensor, Figures]]


class Memory(Protocol):
    """What a loss remembers from step to step."""

    def end_step(self) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def fit(
    engine: Engine,
    loss_function: LossFunction,
    count: Callable[[Batch], int],
    config: TrainConfig,
    run: Run,
    data: Data,
    memory: Memory | None = None,
) -> None:
    """Trains from `data.sampler.start_step` to the end, evaluating and saving on the way.

    Args:
        count: how many losses `loss_function` will give for a batch. The mean is over all of an optimizer
            step, whatever its micro-batches and processes.
        memory: of the loss, to be saved with each checkpoint.
    """
    sampler = data.sampler
    meter = Meter(config, total_steps=sampler.num_steps, start_step=sampler.start_step)
    tally = Tally()
    measure_image_effect = image_effect_once(
        meter, engine, loss_function, data, config.per_device_eval_batch_size
    )
    pace = Pace(config, sampler)
    for step, micro_batches in pace.steps(step_batches(data, config.packing, config.workers)):
        total = float(dist.sum_over_ranks(sum(map(count, micro_batches))))
        engine.accumulation = len(micro_batches)
        for batch in micro_batches:
            losses, figures = loss_function(batch.to(dist.device()))
            engine.backward(losses.sum() / total)
            tally.add(figures)
        moved = engine.step(micro_batches)
        if memory:
            memory.end_step()
        epoch = step / sampler.steps_per_epoch
        figures = {**flow(micro_batches, data.waited_s), **moved, **tally.means(), **run.stall()}
        meter.step(step, epoch=epoch, **figures)

        due = pace.after(step)
        if due.evaluation:
            if figures := evaluate(engine, loss_function, config, data) | measure_image_effect():
                meter.log_eval(step, **figures)
        run.save(step, due, {"engine": engine}, memory.state_dict() if memory else None)
    meter.close()
    run.finish(pace.stopped_by)


@torch.no_grad()
def evaluate(
    engine: Engine, loss_function: LossFunction, config: TrainConfig, data: Data
) -> dict[str, float]:
    """Mean loss and figures over the held-out records, each counted once; nothing where none are held out."""
    tally = Tally()
    batch_size, skips_bad = config.per_device_eval_batch_size, data.skips_bad
    batches = eval_batches(data.held_out, data.encoder, batch_size, config.packing, data.encode, skips_bad)
    with engine.evaluating():
        for batch, counts in batches:
            losses, figures = loss_function(batch)
            if counts:
                tally.add(figures | {"loss": (losses.sum(), len(losses))})
    return {f"eval_{name}": mean for name, mean in tally.means().items()}
