"""Memory of a training run on each GPU, from a model's config alone: no weights are read or made.

    python -m scripts.plan_memory --from_checkpoint models/llava-1.5-7b-hf --stage ppo --zero_stage 3 --num_gpus 8
    python -m scripts.plan_memory --from_checkpoint models/llava-1.5-7b-hf --stage ppo --fit 24GB --num_gpus 8

The first prints what given settings take, the second the fastest settings that fit. Flags have the names that the
stages give them. Sizes are in GiB. What the allocator loses and what libraries take comes on top: plan with a tenth
to spare, as --fit does. `python -m scripts.measure_memory` holds predictions against what small models take.
"""

from scripts.memory_plan.config import GIB, PlanConfig
from scripts.memory_plan.fit import SPARE, advice, fastest, flags, memory_of
from scripts.memory_plan.plan import held, on_cpu, peak, plan, rests
from training.utils.process.command import run_command

COLUMNS = ("weights", "gradients", "optimizer", "buffers", "activations", "step")


def show(config: PlanConfig) -> None:
    """Prints each model's share. Buffers and activations, or a step's copies, are there for one model at a time."""
    print(f"{'':14}{'parameters':>16}{'trained':>16}" + "".join(f"{name:>13}" for name in COLUMNS))
    for each in plan(config):
        engine = each.engine
        sizes = (engine.weights, engine.gradients, engine.optimizer)
        sizes += (engine.passing, each.activations, engine.stepping)
        line = f"{each.model.name:14}{each.parameters.total:16,}{each.parameters.trained:16,}"
        line += "".join(f"{size / GIB:13.2f}" for size in sizes)
        print(line + ("  in CPU memory while it does not work" if rests(config) else ""))
    print(
        f"{peak(config) / GIB:.1f} GiB on each of {config.num_gpus} GPUs, {held(config) / GIB:.1f} of them all "
        "the time"
        + (f", and {outside / GIB:.1f} GiB of CPU memory for each" if (outside := on_cpu(config)) else "")
    )


def fit(config: PlanConfig) -> None:
    """Prints the fastest settings that fit, as flags, or what would fit."""
    memory = memory_of(config.fit)
    found = fastest(config, memory)
    if not found:
        beside = f" and {config.cpu_memory} of CPU memory for each" if config.cpu_memory else ""
        print(
            f"nothing fits: no settings of {config.stage} take {SPARE * memory / GIB:.1f} GiB or less on each of "
            f"{config.num_gpus} GPUs{beside}; what would:"
        )
        print("\n".join(f"- {proposal}" for proposal in advice(config, memory)))
        return
    show(found.config)
    print(
        f"fits {memory / GIB:g} GiB with {memory / GIB - found.peak / GIB:.1f} to spare; append to the script:"
    )
    print(" \\\n  ".join(["", *flags(found.config)]).removeprefix(" \\\n"))
    if (times := config.per_device_train_batch_size // found.config.per_device_train_batch_size) > 1:
        print(f"and multiply --gradient_accumulation_steps by {times}, for as many records in a step")


def main(config: PlanConfig) -> None:
    if config.fit:
        fit(config)
    else:
        show(config)


if __name__ == "__main__":
    run_command(main, PlanConfig)
