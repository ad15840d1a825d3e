"""Direct preference optimisation (arXiv 2305.18290), and its kin by `--loss_type`.

With `--online` it learns from answers that it samples itself: `train_online.py`.
"""

import sys

from training.dpo import train_online
from training.dpo.contrasts import Contrasts
from training.dpo.loss_types import WeightedLosses
from training.dpo.objective import Objective
from training.dpo.reference import AdaptersOff, load_reference, of_responses
from training.utils.checkpoint.run import Run
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.config.stage_config import DPOConfig
from training.utils.data.feature_cache import keep_features
from training.utils.data.tree import Kind
from training.utils.engine.engine import Engine
from training.utils.loop.fit import fit
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.model.build_model import build_policy
from training.utils.process.cli import run_stage


def main(config: DPOConfig) -> None:
    losses = WeightedLosses(config)
    encoder = build_encoder(config, config.from_checkpoint)
    compares_images = losses.compare_with(Kind.OTHER_IMAGE)
    data = load_data(
        config,
        encoder,
        losses.min_responses,
        config.ranked_candidate_num or None,
        1 + compares_images,
        needs_labels=losses.need_labels,
    )
    data.encode = Contrasts(
        encoder,
        borrow=losses.compare_with(Kind.BORROWED),
        other_image=config.other_image if compares_images else "",
        seed=config.seed,
    )
    run = Run(config, encoder, data)
    policy = build_policy(config, config.from_checkpoint, encoder.family)
    keep_features(config, policy, data)
    reference = load_reference(config, policy, data) if losses.need_reference else None
    engine = Engine(policy, config, total_steps=data.sampler.num_steps)
    if losses.need_reference and not reference:
        reference = of_responses(AdaptersOff(engine))
    objective = Objective(losses, engine, reference, config)
    data.sampler.start_step, state = run.load_checkpoint({"engine": engine})
    if state:
        objective.mean_reward.load_state_dict(state)
    fit(
        engine,
        objective,
        lambda batch: batch.num_prompts,
        config,
        run,
        data,
        memory=objective.mean_reward,
    )


if __name__ == "__main__":
    if any(word.partition("=")[0] == "--online" for word in sys.argv):
        run_stage(train_online.main, OnlineDPOConfig)
    else:
        run_stage(main, DPOConfig)
