"""Direct preference optimisation (arXiv 2305.18290, equation 7) with label smoothing (cDPO).

With K ranked responses every ordered pair counts, each once. `--sft_coef` adds the cross-entropy of the chosen
response (arXiv 2404.19733, equation 1), which keeps its probability from falling along with the rejected one's.
"""

import torch
from torch import Tensor

from training.utils.checkpoint import Run
from training.utils.cli import run_stage
from training.utils.data.tree import Batch
from training.utils.engine import Engine, inference_engine
from training.utils.fit import fit
from training.utils.losses import dpo_loss, ordered_pairs, segment_sum
from training.utils.model.build_model import build_policy
from training.utils.model.tower import share_towers
from training.utils.prepare import build_encoder, build_sampler, load_data
from training.utils.stage_config import DPOConfig
from training.utils.tally import Figures


def main(config: DPOConfig) -> None:
    encoder = build_encoder(config, config.from_checkpoint)
    max_responses = config.ranked_candidate_num or None
    train, held_out = load_data(config, encoder, min_responses=2, max_responses=max_responses)
    sampler = build_sampler(config, len(train))
    run = Run(config, encoder)
    policy = build_policy(config, config.from_checkpoint, encoder.family)
    reference = build_policy(config, config.from_checkpoint, encoder.family, trainable=False)
    share_towers(policy, reference)
    engine = Engine(policy, config, total_steps=sampler.num_steps)
    reference = inference_engine(reference, config)
    sampler.start_step, _ = run.load_checkpoint({"engine": engine})

    def pair_losses(batch: Batch) -> tuple[Tensor, Figures]:
        """DPO loss of each pair, [M]."""
        logps = segment_sum(engine(batch), batch.response, batch.num_responses)  # [R]
        with torch.no_grad():
            ref_logps = segment_sum(reference(batch), batch.response, batch.num_responses)
        chosen, rejected = ordered_pairs(batch.prompt_of_response)  # [M] each
        losses, chosen_rewards, rejected_rewards = dpo_loss(
            logps[chosen],
            logps[rejected],
            ref_logps[chosen],
            ref_logps[rejected],
            config.beta,
            config.label_smoothing,
        )
        if config.sft_coef:
            lengths = torch.bincount(batch.response[batch.response >= 0], minlength=batch.num_responses)
            losses = losses - config.sft_coef * logps[chosen] / lengths[chosen]
        margins = chosen_rewards - rejected_rewards
        return losses, {
            "chosen_reward": (chosen_rewards.sum(), len(losses)),
            "rejected_reward": (rejected_rewards.sum(), len(losses)),
            "margin": (margins.sum(), len(losses)),
            "accuracy": ((margins > 0).sum(), len(losses)),
        }

    def num_pairs(batch: Batch) -> int:
        return len(ordered_pairs(batch.prompt_of_response)[0])

    fit(engine, pair_losses, num_pairs, config, run, encoder, sampler, train, held_out)


if __name__ == "__main__":
    run_stage(main, DPOConfig)
