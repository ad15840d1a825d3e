"""Proximal policy optimisation (arXiv 1707.06347) against a vision reward model (arXiv 2203.02155).

Each step samples responses, scores them with the reward model, charges the KL to the reference per token,
estimates advantages with the critic (GAE) and takes `ppo_epochs` passes of clipped updates over them. With another
`--algorithm` it is RLOO, GRPO, DAPO, GSPO, ..., which need no critic.
"""

from time import monotonic

from training.ppo.dynamic_sampling import replace_dull
from training.ppo.experience import assign_credit, observe, rollout_figures, step_figures
from training.ppo.models import build_models
from training.ppo.update import minibatches, update
from training.rewards.functions import try_rewards
from training.rewards.kinds import require_reward_models
from training.rewards.rollout_file import Rollouts
from training.rewards.sampler import Sampler, evaluate
from training.utils.checkpoint.run import Run
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.loader import flow, step_trees
from training.utils.data.record import DataError
from training.utils.loop.meter import Meter
from training.utils.loop.pace import Pace
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.loop.tally import Tally
from training.utils.losses.policy import KLController, RunningMoments
from training.utils.process.cli import run_stage
from training.utils.rollouts.gap_watch import GapWatch


def main(config: PPOConfig) -> None:
    require_reward_models(config, config.reward_model_ckpt_path, "--num_generations", config.num_generations)
    encoder = build_encoder(config, config.from_checkpoint)
    data = load_data(config, encoder, min_responses=0, needs_answer=config.needs_answers)
    try_rewards(config, data.train, data.held_out)
    num_steps = data.sampler.num_steps
    critic_only_steps = config.critic_only_steps(num_steps)
    if critic_only_steps >= num_steps:
        raise DataError(
            f"--skip_actor_model {config.skip_actor_model:g}: the critic would learn alone in all {num_steps} steps, "
            "the policy would stay as it is; expected fewer steps, or a share of them below 1; or give more prompts "
            "or epochs"
        )
    run = Run(config, encoder, data)
    models = build_models(config, encoder, data)
    kl_controller = KLController(config.kl_coef, config.kl_target, config.kl_horizon)
    moments = RunningMoments()
    data.sampler.start_step, state = run.load_checkpoint(models.engines)
    if state:
        kl_controller.load_state_dict(state["kl_controller"])
        moments.load_state_dict(state["moments"])
        if state["critic_scale"]:  # none without a critic
            models.critic_scale = tuple(state["critic_scale"])

    start_step = data.sampler.start_step
    meter = Meter(config, total_steps=num_steps, start_step=start_step)
    rollouts = Rollouts(config, encoder, start_step)
    sampler = Sampler(models.actor, models.rewards, config, data)
    watch = GapWatch(config, sampler, models.actor)
    measure_image_effect = sampler.image_effect_once(meter)
    pace = Pace(config, data.sampler)
    for step, prompts in pace.steps(step_trees(data, config.workers)):
        # 1. Sample responses of the current policy, and score them.
        started = monotonic()
        with sampler.engine.awake():
            sampled = sampler.sample(prompts, step)
            for attempt in range(config.dynamic_sampling):
                sampled = replace_dull(sampled, sampler, data, step, attempt)

        sampling_s = monotonic() - started

        # 2. What the models say of them. A critic that starts as a reward model starts at normalised scores.
        if step == 1 and config.critic_is_reward_model and config.normalize_rewards:
            models.standardise_critic([each.parts[config.critic_checkpoint] for each in sampled])
        experiences = observe(sampled, models, config)
        gap = watch.look(step, experiences)

        # 3. Rewards, advantages, returns: fixed from here on.
        assign_credit(experiences, moments, kl_controller.coef, config)

        # 4. Clipped updates over the same responses. At first the critic learns alone.
        tally, drawn = Tally(), minibatches(experiences, config, step)
        update(drawn, models, tally, config, kl_controller.coef, critic_only=step <= critic_only_steps)

        # 5. Report, adapt the KL coefficient, save.
        for experience in experiences:
            tally.add(rollout_figures(experience))
        figures = tally.means()
        rollouts.write(step, experiences)
        taken = flow([each.batch for each in experiences], data.waited_s)
        epoch = step / data.sampler.steps_per_epoch
        shown = {
            "lr": models.actor.learning_rate,
            "kl_coef": kl_controller.coef,
            "sampling_s": sampling_s,
            **figures,
            **step_figures(experiences),
            **gap,
            **models.passed_over,
            **run.stall(),
        }
        meter.step(step, epoch=epoch, **taken, **shown)
        kl_controller.update(figures["kl"], data.sampler.global_batch * config.num_generations)

        due = pace.after(step)
        if due.evaluation:
            if figures := evaluate(sampler, data.held_out) | measure_image_effect():
                meter.log_eval(step, **figures)
        state = {"kl_controller": kl_controller.state_dict(), "moments": moments.state_dict()}
        run.save(step, due, models.engines, state | {"critic_scale": models.critic_scale})
    meter.close()
    run.finish(pace.stopped_by)


if __name__ == "__main__":
    run_stage(main, PPOConfig)
