"""Reward model: a scalar at the last token of each response, trained to rank the responses of a prompt.

Plackett-Luce over K ranked responses (Plackett 1975); with K = 2 it is the Bradley-Terry loss of
arXiv 2203.02155, equation 1.
"""

from torch import Tensor

from training.utils.checkpoint import Run
from training.utils.cli import run_stage
from training.utils.data.tree import Batch
from training.utils.engine import Engine
from training.utils.fit import fit
from training.utils.losses import pair_accuracy, plackett_luce_loss
from training.utils.model.build_model import build_value_model
from training.utils.prepare import build_encoder, build_sampler, load_data
from training.utils.stage_config import RewardConfig
from training.utils.tally import Figures


def main(config: RewardConfig) -> None:
    encoder = build_encoder(config, config.from_checkpoint)
    max_responses = config.ranked_candidate_num or None
    train, held_out = load_data(config, encoder, min_responses=2, max_responses=max_responses)
    sampler = build_sampler(config, len(train))
    run = Run(config, encoder)
    reward_model = build_value_model(config, config.from_checkpoint, encoder.family)
    engine = Engine(reward_model, config, total_steps=sampler.num_steps)
    sampler.start_step, _ = run.load_checkpoint({"engine": engine})

    def ranking_losses(batch: Batch) -> tuple[Tensor, Figures]:
        """Plackett-Luce loss of each prompt, [P]."""
        scores = engine(batch, batch.last_token)  # [R]
        losses = plackett_luce_loss(scores, batch.prompt_of_response, batch.num_prompts)
        return losses, {
            "accuracy": pair_accuracy(scores, batch.prompt_of_response),
            "score": (scores.sum(), len(scores)),
        }

    fit(
        engine,
        ranking_losses,
        lambda batch: batch.num_prompts,
        config,
        run,
        encoder,
        sampler,
        train,
        held_out,
    )


if __name__ == "__main__":
    run_stage(main, RewardConfig)
