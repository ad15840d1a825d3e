"""Proximal policy optimisation (arXiv 1707.06347) against a vision reward model (arXiv 2203.02155).

Each step samples responses, scores them with the reward model, charges the KL to the reference per token,
estimates advantages with the critic (GAE) and takes `ppo_epochs` passes of clipped updates over them. With another
`--advantage_estimator` it is RLOO, GRPO or REINFORCE++, which need no critic.
"""

from math import ceil

from training.ppo.experience import assign_credit, observe, rollout_figures
from training.ppo.rollout import Rollouts, evaluate, sample
from training.ppo.update import minibatches, update
from training.utils import dist
from training.utils.checkpoint import Run
from training.utils.cli import run_stage
from training.utils.data.loader import Collator, step_trees
from training.utils.engine import Engine, inference_engine
from training.utils.meter import Meter
from training.utils.model.build_model import build_policy, build_value_model, require_reward_model
from training.utils.model.tower import share_towers
from training.utils.prepare import build_encoder, build_sampling, load_data
from training.utils.rl import KLController, RunningMoments
from training.utils.stage_config import PPOConfig
from training.utils.tally import Tally


def main(config: PPOConfig) -> None:
    require_reward_model(config.reward_model_ckpt_path)
    encoder = build_encoder(config, config.from_checkpoint)
    data = load_data(config, encoder, min_responses=0)
    sampler = data.sampler
    run = Run(config, encoder)

    # Four models, or three without a critic. They share one vision tower where it is frozen and the same.
    for_actor, for_critic, family = config.for_actor, config.for_critic, encoder.family
    policy = build_policy(for_actor, config.from_checkpoint, family)
    reference = build_policy(for_actor, config.from_checkpoint, family, trainable=False)
    reward_model = build_value_model(
        for_critic, config.reward_model_ckpt_path, family, trainable=False, needs_head=True
    )
    value_model = (
        build_value_model(for_critic, config.critic_checkpoint, family) if config.has_critic else None
    )
    models = [model for model in (policy, reference, reward_model, value_model) if model]
    share_towers(*models, remembered_batches=sampler.accumulation)

    num_updates = sampler.num_steps * config.ppo_epochs * config.num_minibatches
    actor = Engine(policy, for_actor, total_steps=num_updates)
    critic = Engine(value_model, for_critic, total_steps=num_updates) if value_model else None
    engines = {"actor": actor} | ({"critic": critic} if critic else {})
    reference = inference_engine(reference, for_actor)
    reward_model = inference_engine(reward_model, for_critic)

    kl_controller = KLController(config.kl_coef, config.kl_target, config.kl_horizon)
    moments = RunningMoments()
    sampler.start_step, state = run.load_checkpoint(engines)
    if state:
        kl_controller.load_state_dict(state["kl_controller"])
        moments.load_state_dict(state["moments"])

    sampling = build_sampling(config, encoder, config.max_generation_length_of_sampling)
    collate = Collator(encoder, any(record.images for record in data.train))
    meter = Meter(config, total_steps=sampler.num_steps, start_step=sampler.start_step)
    rollouts = Rollouts(config, encoder, sampler.start_step)
    steps = step_trees(data, config.num_workers)
    for step, prompt_trees in enumerate(steps, sampler.start_step + 1):
        # 1. Sample responses of the current policy.
        trees = sample(actor, encoder, prompt_trees, sampling, config.num_generations, config.seed, step)
        batches = [collate(micro_batch).to(dist.device()) for micro_batch in trees]

        # 2. What the models say of them.
        experiences = [observe(batch, actor, critic, reference, reward_model, config) for batch in batches]

        # 3. Rewards, advantages, returns: fixed from here on.
        assign_credit(experiences, moments, kl_controller.coef, config)

        # 4. Clipped updates over the same responses. At first the critic learns alone.
        tally = Tally()
        critic_only = config.has_critic and step <= config.skip_actor_model
        for minibatch in minibatches(experiences, config, step):
            update(minibatch, actor, critic, tally, config, kl_controller.coef, critic_only)

        # 5. Report, adapt the KL coefficient, save.
        for experience in experiences:
            tally.add(rollout_figures(experience))
        figures = tally.means()
        rollouts.write(step, trees, experiences)
        num_tokens = float(dist.sum_over_ranks(sum(batch.num_tokens for batch in batches)))
        epoch = step / sampler.steps_per_epoch
        meter.step(
            step,
            epoch=epoch,
            tokens=num_tokens,
            lr=actor.learning_rate,
            kl_coef=kl_controller.coef,
            **figures,
        )
        kl_controller.update(figures["kl"], num_responses=sampler.global_batch * config.num_generations)

        is_last = step == sampler.num_steps
        if data.held_out and (is_last or step % config.eval_step == 0):
            meter.log_eval(
                step, **evaluate(actor, reward_model, encoder, collate, data.held_out, sampling, config)
            )
        ends_epoch = is_last or step % sampler.steps_per_epoch == 0
        if not is_last and (ends_epoch or step % config.save_step == 0):
            state = {"kl_controller": kl_controller.state_dict(), "moments": moments.state_dict()}
            run.save_checkpoint(step, engines, state)
        if ends_epoch:
            run.save_model(f"epoch-{ceil(epoch) - 1}", actor)
    meter.close()
    run.finish()


if __name__ == "__main__":
    run_stage(main, PPOConfig)
