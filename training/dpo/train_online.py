"""Online DPO: the policy samples the answers that it learns from (OAIF, arXiv 2402.04792, algorithm 1).

Each step samples several answers to each prompt from the policy as it is now, has the rewards score them, sets the
best against the worst (arXiv 2405.07863, section 3.2), and moves the policy by a preference loss against a reference
that stays what it is.
"""

from functools import partial
from time import monotonic

from training.dpo.loss_types import WeightedLosses
from training.dpo.objective import Objective
from training.dpo.reference import AdaptersOff, load_frozen
from training.dpo.sampled import Compared, compare
from training.rewards.functions import try_rewards
from training.rewards.kinds import require_reward_models
from training.rewards.observed import observe
from training.rewards.rollout_file import Rollouts
from training.rewards.sampler import Sampler, evaluate
from training.rewards.weighted import load_rewards
from training.utils.checkpoint.run import Run
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.data.loader import Collator, flow, step_trees
from training.utils.engine.engine import Engine, inference_engine
from training.utils.loop.meter import Meter
from training.utils.loop.pace import Pace
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.loop.tally import Tally
from training.utils.model.build_model import build_policy
from training.utils.process import dist
from training.utils.rollouts.gap_watch import GapWatch


def main(config: OnlineDPOConfig) -> None:
    losses = WeightedLosses(config)
    require_reward_models(config, config.reward_model_ckpt_path)
    encoder = build_encoder(config, config.from_checkpoint)
    data = load_data(config, encoder, min_responses=0, needs_answer=config.needs_answers)
    try_rewards(config, data.train, data.held_out)
    run = Run(config, encoder, data)
    policy = build_policy(config, config.from_checkpoint, encoder.family)
    rests = config.offload_idle_models
    place = partial(inference_engine, config=config, rests=rests)
    rewards = load_rewards(config, encoder, data.train.has_images, place)
    seen_at_once = data.sampler.accumulation
    frozen = load_frozen(
        config, policy, encoder, *rewards.models, remembered_batches=seen_at_once, rests=rests
    )
    engine = Engine(policy, config, total_steps=data.sampler.num_steps, rests=rests)
    reference = frozen or AdaptersOff(engine)
    objective = Objective(losses, engine, lambda batch: batch.ref_logps, config)
    data.sampler.start_step, state = run.load_checkpoint({"engine": engine})
    if state:
        objective.mean_reward.load_state_dict(state)

    meter = Meter(config, total_steps=data.sampler.num_steps, start_step=data.sampler.start_step)
    rollouts = Rollouts(config, encoder, data.sampler.start_step)
    sampler = Sampler(engine, rewards, config, data)
    watch = GapWatch(config, sampler, engine)
    measure_image_effect = sampler.image_effect_once(meter)
    pace = Pace(config, data.sampler)
    for step, prompts in pace.steps(step_trees(data, config.workers)):
        # 1. Answers of the policy as it is now, what they are worth, and what policy and reference say of them.
        started = monotonic()
        with sampler.engine.awake():
            sampled = sampler.sample(prompts, step)
        sampling_s = monotonic() - started
        observed = observe(sampled, engine, reference, config.temperature)
        gap = watch.look(step, observed)

        # 2. The best against the worst answer to each prompt.
        compared = [compare(each, config) for each in observed]

        # 3. A step of the loss: the mean over the prompts whose answers differ in worth.
        tally = Tally()
        if total := float(dist.sum_over_ranks(sum(each.counts for each in compared))):
            moved = move(engine, objective, compared, sampler.collate, total, tally)
        else:
            moved = engine.stay(
                f"step {step}: to no prompt does it have answers that are worth more than others"
            )

        # 4. Report, save.
        for figures in (each.figures for each in (*compared, *observed)):
            tally.add(figures)
        rollouts.write(step, observed)
        taken = flow([each.batch for each in observed], data.waited_s)
        shown = {"sampling_s": sampling_s, **moved, **tally.means(), **gap, **run.stall()}
        meter.step(step, epoch=step / data.sampler.steps_per_epoch, **taken, **shown)
        due = pace.after(step)
        if due.evaluation:
            if figures := evaluate(sampler, data.held_out) | measure_image_effect():
                meter.log_eval(step, **figures)
        run.save(step, due, {"engine": engine}, objective.mean_reward.state_dict())
    meter.close()
    run.finish(pace.stopped_by)


def move(
    engine: Engine,
    objective: Objective,
    compared: list[Compared],
    collate: Collator,
    total: float,
    tally: Tally,
) -> dict[str, float]:
    """Moves the policy once by the mean loss of the prompts that count, `total` over all processes.

    Returns:
        As of `Engine.step`.
    """
    batches = [collate(each.trees) for each in compared]
    engine.accumulation = len(batches)
    with engine.working(steps=True):
        for each, batch in zip(compared, batches, strict=True):
            values, figures = objective(batch.to(dist.device()), counts=each.counts > 0)
            engine.backward(values.sum() / total)
            tally.add(figures)
        moved = engine.step(batches)
    objective.mean_reward.end_step()
    return moved
