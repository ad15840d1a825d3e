"""Direct preference optimisation (arXiv 2305.18290), and its kin by `--loss_type`.

With K ranked responses the pairs of a prompt are averaged, so that each prompt counts once.
"""

import torch
from torch import Tensor

from training.dpo.loss_types import Ranked, WeightedLosses
from training.utils.checkpoint import Run
from training.utils.cli import run_stage
from training.utils.data.tree import Batch
from training.utils.engine import Engine, inference_engine
from training.utils.fit import fit
from training.utils.losses import segment_sum
from training.utils.model.build_model import build_policy
from training.utils.model.tower import share_towers
from training.utils.prepare import build_encoder, build_sampler, load_data
from training.utils.stage_config import DPOConfig
from training.utils.tally import Figures


def main(config: DPOConfig) -> None:
    weighted_losses = WeightedLosses(config)
    encoder = build_encoder(config, config.from_checkpoint)
    max_responses = config.ranked_candidate_num or None
    train, held_out = load_data(config, encoder, min_responses=2, max_responses=max_responses)
    sampler = build_sampler(config, len(train))
    run = Run(config, encoder)
    policy = build_policy(config, config.from_checkpoint, encoder.family)
    reference = None
    if weighted_losses.need_reference:
        reference = build_policy(config, config.from_checkpoint, encoder.family, trainable=False)
        share_towers(policy, reference)
    engine = Engine(policy, config, total_steps=sampler.num_steps)
    if reference:
        reference = inference_engine(reference, config)
    sampler.start_step, _ = run.load_checkpoint({"engine": engine})

    def preference_losses(batch: Batch) -> tuple[Tensor, Figures]:
        """The weighted sum of the losses that were asked for, [P]."""

        def response_logps(model) -> Tensor:
            return segment_sum(model(batch), batch.response, batch.num_responses)  # [R]

        logps = response_logps(engine)
        with torch.no_grad():
            ref_logps = response_logps(reference) if reference else None
        lengths = torch.bincount(batch.response[batch.response >= 0], minlength=batch.num_responses)
        ranked = Ranked(logps, ref_logps, lengths, batch.prompt_of_response, batch.num_prompts)
        return weighted_losses(ranked), preference_figures(ranked, config.beta)

    fit(
        engine,
        preference_losses,
        lambda batch: batch.num_prompts,
        config,
        run,
        encoder,
        sampler,
        train,
        held_out,
    )


@torch.no_grad()
def preference_figures(ranked: Ranked, beta: float) -> Figures:
    """Log-probabilities of chosen and rejected responses; with a reference their implicit rewards, the margin between
    them, how often it is on the right side, and how far the policy has moved on these responses, in nats."""
    chosen, rejected = ranked.pairs
    num_pairs = len(chosen)
    figures = {
        "chosen_logps": (ranked.logps[chosen].sum(), num_pairs),
        "rejected_logps": (ranked.logps[rejected].sum(), num_pairs),
    }
    if ranked.ref_logps is None:
        margins = ranked.margins(ranked.mean_logps)
        return figures | {"accuracy": ((margins > 0).sum(), num_pairs)}
    rewards = ranked.rewards(beta)
    margins = ranked.margins(rewards)
    return figures | {
        "chosen_reward": (rewards[chosen].sum(), num_pairs),
        "rejected_reward": (rewards[rejected].sum(), num_pairs),
        "margin": (margins.sum(), num_pairs),
        "accuracy": ((margins > 0).sum(), num_pairs),
        "moved": (ranked.log_ratios.abs().sum(), len(ranked.logps)),
    }


if __name__ == "__main__":
    run_stage(main, DPOConfig)
