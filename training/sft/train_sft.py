"""Supervised fine-tuning: cross-entropy on every assistant turn."""

from torch import Tensor

from training.rewards.verdict import metadata_of
from training.utils.checkpoint.run import Run
from training.utils.config.stage_config import SFTConfig
from training.utils.data.feature_cache import keep_features
from training.utils.data.tree import Batch
from training.utils.engine.engine import Engine
from training.utils.loop.fit import fit
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.loop.tally import Figures
from training.utils.model.assemble import assemble_once
from training.utils.model.build_model import build_policy
from training.utils.process.cli import run_stage


def main(config: SFTConfig) -> None:
    if config.builds_model:
        assemble_once(config, config.from_checkpoint, config.seed)
    encoder = build_encoder(config, config.from_checkpoint)
    data = load_data(config, encoder, min_responses=1, max_responses=1, imitates=True)
    run = Run(config, encoder, data)
    run.metadata |= metadata_of(data.train, encoder)
    policy = build_policy(config, config.from_checkpoint, encoder.family)
    keep_features(config, policy, data)
    engine = Engine(policy, config, total_steps=data.sampler.num_steps)
    data.sampler.start_step, _ = run.load_checkpoint({"engine": engine})

    def token_losses(batch: Batch) -> tuple[Tensor, Figures]:
        """Negative log-likelihood of each token of each answer, [N]."""
        return -engine(batch), {}

    fit(engine, token_losses, lambda batch: batch.num_learned, config, run, data)


if __name__ == "__main__":
    run_stage(main, SFTConfig)
