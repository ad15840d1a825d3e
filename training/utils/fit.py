"""The loop of the stages that learn from given responses: SFT, reward model, DPO."""

from collections.abc import Callable, Sequence
from math import ceil

import torch
from torch import Tensor

from . import dist
from .checkpoint import Run
from .config import TrainConfig
from .data.encode import Encoder
from .data.loader import eval_batches, step_batches
from .data.record import Record
from .data.sampler import StepSampler
from .data.tree import Batch
from .engine import Engine
from .meter import Meter
from .tally import Figures, Tally

# The losses of a batch, one for each token, prompt or pair that the mean is taken over, and figures to show.
LossFunction = Callable[[Batch], tuple[Tensor, Figures]]


def fit(
    engine: Engine,
    loss_function: LossFunction,
    count: Callable[[Batch], int],
    config: TrainConfig,
    run: Run,
    encoder: Encoder,
    sampler: StepSampler,
    train: Sequence[Record],
    held_out: Sequence[Record],
) -> None:
    """Trains from `sampler.start_step` to the end, evaluating and saving on the way.

    Args:
        count: how many losses `loss_function` will give for a batch. The mean is over all of an optimizer
            step, whatever its micro-batches and processes.
    """
    meter = Meter(config, total_steps=sampler.num_steps, start_step=sampler.start_step)
    tally = Tally()
    steps = step_batches(train, encoder, sampler, config.packing, config.num_workers)
    for step, micro_batches in enumerate(steps, sampler.start_step + 1):
        total = float(dist.sum_over_ranks(sum(map(count, micro_batches))))
        for batch in micro_batches:
            losses, figures = loss_function(batch)
            engine.backward(losses.sum() / total)
            tally.add(figures)
        moved = engine.step(micro_batches)
        num_tokens = float(dist.sum_over_ranks(sum(batch.num_tokens for batch in micro_batches)))
        epoch = step / sampler.steps_per_epoch
        meter.step(step, epoch=epoch, tokens=num_tokens, **moved, **tally.means())

        is_last = step == sampler.num_steps
        if held_out and (is_last or step % config.eval_step == 0):
            meter.log_eval(step, **evaluate(engine, loss_function, config, encoder, held_out))
        ends_epoch = is_last or step % sampler.steps_per_epoch == 0
        if not is_last and (ends_epoch or step % config.save_step == 0):
            run.save_checkpoint(step, {"engine": engine})
        if ends_epoch:
            run.save_model(f"epoch-{ceil(epoch) - 1}", engine)
    meter.close()
    run.finish()


@torch.no_grad()
def evaluate(
    engine: Engine,
    loss_function: LossFunction,
    config: TrainConfig,
    encoder: Encoder,
    records: Sequence[Record],
) -> dict[str, float]:
    """Mean loss and figures over records, each record counted once."""
    engine.module.eval()
    tally = Tally()
    for batch, counts in eval_batches(records, encoder, config.per_device_eval_batch_size, config.packing):
        losses, figures = loss_function(batch)
        if counts:
            tally.add(figures | {"loss": (losses.sum(), len(losses))})
    engine.module.train()
    return {f"eval_{name}": mean for name, mean in tally.means().items()}
