"""Reward model: a scalar at the last token of each response, trained to rank the responses of a prompt.

Plackett-Luce over K ranked responses (Plackett 1975); with K = 2 it is the Bradley-Terry loss of
arXiv 2203.02155, equation 1. Or, with `--loss_type regression`, the scores that the records give. With `--aspects`
there is a scalar for each, and a record trains the one that it names, or the mean of all.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from training.utils.checkpoint.run import Run
from training.utils.config.stage_config import RewardConfig
from training.utils.data.feature_cache import keep_features
from training.utils.data.record import DataError
from training.utils.data.records import Records
from training.utils.data.tree import Batch
from training.utils.engine.engine import Engine
from training.utils.files.model_folder import (
    HEAD_FILE,
    read_aspects,
    require_reward_model,
    resolve_checkpoint,
)
from training.utils.loop.fit import fit
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.loop.tally import Figures
from training.utils.losses.responses import (
    centering_loss,
    of_aspect,
    pair_accuracy,
    pair_margin,
    plackett_luce_loss,
    ranks,
    regression_loss,
)
from training.utils.model.build_model import build_value_model
from training.utils.process import dist
from training.utils.process.cli import run_stage


def main(config: RewardConfig) -> None:
    if config.trained_reward_model:
        require_reward_model(config.trained_reward_model)
    aspects = aspects_of(config)
    encoder = build_encoder(config, config.from_checkpoint)
    max_responses = config.ranked_candidate_num or None
    data = load_data(
        config,
        encoder,
        1 if config.regresses else 2,
        max_responses,
        needs_scores=config.regresses,
        captions=config.captions,
        aspects=aspects,
    )
    if aspects and dist.is_main():
        print(told(data.train, aspects), flush=True)
    run = Run(config, encoder, data)
    run.metadata["captions"] = bool(config.captions)
    reward_model = build_value_model(config, config.from_checkpoint, encoder.family, aspects=aspects)
    keep_features(config, reward_model, data)
    engine = Engine(reward_model, config, total_steps=data.sampler.num_steps)
    data.sampler.start_step, _ = run.load_checkpoint({"engine": engine})

    def losses(batch: Batch) -> tuple[Tensor, Figures]:
        return response_losses(engine, batch, config, aspects)

    fit(engine, losses, lambda batch: batch.num_prompts, config, run, data)


def response_losses(
    reward_model: Engine | nn.Module, batch: Batch, config: RewardConfig, aspects: Sequence[str] = ()
) -> tuple[Tensor, Figures]:
    """The loss of each prompt's responses, [P]."""
    scores = reward_model(batch, batch.last_token)  # [R], or [R, A] of A aspects
    if aspects:
        scores = of_aspect(scores, batch.aspect)
    prompts, known = batch.prompt_of_response, batch.on_cpu
    known_rank = ranks(known.prompt_of_response, known.scores)
    rank = known_rank.to(scores.device)
    if config.regresses:
        losses = regression_loss(scores, batch.scores, prompts, batch.num_prompts)
    else:
        margins = config.margin * given_margins(batch.scores, rank) if config.margin else None
        losses = plackett_luce_loss(scores, prompts, batch.num_prompts, rank, margins)
    if config.centering_coef:
        losses = losses + config.centering_coef * centering_loss(scores, prompts, batch.num_prompts)
    return losses, {
        "accuracy": pair_accuracy(scores, known.prompt_of_response, known_rank),
        "margin": pair_margin(scores, known.prompt_of_response, known_rank),
        "score": (scores.sum(), len(scores)),
    } | accuracy_of_aspects(scores, batch, known_rank, aspects)


def accuracy_of_aspects(scores: Tensor, batch: Batch, known_rank: Tensor, aspects: Sequence[str]) -> Figures:
    """Pair accuracy on the records of each aspect."""
    figures, known = {}, batch.on_cpu
    for place, name in enumerate(aspects):
        mine = (known.aspect == place).nonzero()[:, 0]
        of_prompt = known.prompt_of_response[mine]
        figures[f"accuracy {name}"] = pair_accuracy(
            scores[mine.to(scores.device)], of_prompt, known_rank[mine]
        )
    return figures


def aspects_of(config: RewardConfig) -> tuple[str, ...]:
    """What the outputs of the head are about: as asked for, or as they are in the reward model that it goes on from.

    Raises:
        DataError: these are not the same.
    """
    folder = resolve_checkpoint(config.from_checkpoint)
    known, asked = read_aspects(folder), tuple(config.aspects)
    if (folder / HEAD_FILE).is_file() and asked not in ((), known):
        has = f"the aspects {' '.join(known)}" if known else "one output"
        raise DataError(
            f"--aspects {' '.join(asked)}: the head in {folder} has {has}; expected the same, or a model without one"
        )
    return known or asked


def told(records: Records, aspects: Sequence[str]) -> str:
    """How many records train which output."""
    of_records = records.of("aspect")
    counts = [f"{(of_records == place).sum():,} train {name}" for place, name in enumerate(aspects)]
    return f"aspects: {', '.join(counts)}; {(of_records < 0).sum():,} name none, and train the mean of all"


def given_margins(scores: Tensor, rank: Tensor) -> Tensor:
    """How far each response is ahead of each other by the scores of the records, 1 where there are none, [R, R]."""
    ahead = (scores[:, None] - scores[None, :]).nan_to_num(1.0)
    return ahead.clamp(min=0) * (rank[:, None] < rank[None, :])


if __name__ == "__main__":
    run_stage(main, RewardConfig)
