"""Direct preference optimisation (arXiv 2305.18290), and its kin by `--loss_type`."""

import torch
from torch import Tensor

from training.dpo.contrasts import Contrasts
from training.dpo.loss_types import WeightedLosses
from training.dpo.mean_reward import MeanReward
from training.dpo.ranked import Ranked, ranked_responses
from training.dpo.reference import load_reference, policy_without_adapters, response_logps
from training.utils.checkpoint.run import Run
from training.utils.config.stage_config import DPOConfig
from training.utils.data.feature_cache import keep_features
from training.utils.data.tree import Batch, Kind
from training.utils.engine.engine import Engine
from training.utils.loop.fit import fit
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.loop.tally import Figures
from training.utils.model.build_model import build_policy
from training.utils.process.cli import run_stage


def main(config: DPOConfig) -> None:
    weighted_losses = WeightedLosses(config)
    encoder = build_encoder(config, config.from_checkpoint)
    max_responses = config.ranked_candidate_num or None
    min_responses, need_labels = weighted_losses.min_responses, weighted_losses.need_labels
    compares_images = weighted_losses.compare_with(Kind.OTHER_IMAGE)
    data = load_data(
        config, encoder, min_responses, max_responses, 1 + compares_images, needs_labels=need_labels
    )
    data.encode = Contrasts(
        encoder,
        borrow=weighted_losses.compare_with(Kind.BORROWED),
        other_image=config.other_image if compares_images else "",
        seed=config.seed,
    )
    run = Run(config, encoder, data)
    policy = build_policy(config, config.from_checkpoint, encoder.family)
    keep_features(config, policy, data)
    reference = load_reference(config, policy, data) if weighted_losses.need_reference else None
    engine = Engine(policy, config, total_steps=data.sampler.num_steps)
    if weighted_losses.need_reference and not reference:
        reference = policy_without_adapters(engine)
    mean_reward = MeanReward()
    data.sampler.start_step, state = run.load_checkpoint({"engine": engine})
    if state:
        mean_reward.load_state_dict(state)

    def preference_losses(batch: Batch) -> tuple[Tensor, Figures]:
        """The weighted sum of the losses that were asked for, [P]."""
        ref_logps = reference(batch) if reference else None
        ranked = ranked_responses(batch, response_logps(engine, batch), ref_logps)
        if weighted_losses.need_mean_reward:
            if engine.is_training:
                mean_reward.see(ranked.rewards(config.beta).detach())
            ranked.mean_reward = mean_reward.value
        return weighted_losses(ranked), preference_figures(ranked, config.beta)

    fit(engine, preference_losses, lambda batch: batch.num_prompts, config, run, data, memory=mean_reward)


@torch.no_grad()
def preference_figures(ranked: Ranked, beta: float) -> Figures:
    """Log-probabilities of desirable and undesirable responses; with a reference their implicit rewards, the margin
    of pairs and how often it is on the right side, how far the policy has moved on these responses, in nats, and how
    often the reference by itself gives the better response the higher log-probability of a token."""
    good, margins = ranked.desirable, ranked.margins(ranked.mean_logps)
    bad = ~good
    figures = {
        "chosen_logps": (ranked.logps.where(good, 0).sum(), good.sum()),
        "rejected_logps": (ranked.logps.where(bad, 0).sum(), bad.sum()),
    }
    if ranked.ref_logps is not None:
        before = ranked.margins(ranked.ref_logps / ranked.lengths)
        rewards = ranked.rewards(beta)
        margins = ranked.margins(rewards)
        figures |= {
            "chosen_reward": (rewards.where(good, 0).sum(), good.sum()),
            "rejected_reward": (rewards.where(bad, 0).sum(), bad.sum()),
            "margin": (margins.sum(), len(margins)),
            "reference_accuracy": ((before > 0).sum(), len(before)),
            "moved": (ranked.log_ratios.abs().sum(), len(ranked.logps)),
        }
    return figures | {"accuracy": ((margins > 0).sum(), len(margins))}


if __name__ == "__main__":
    run_stage(main, DPOConfig)
