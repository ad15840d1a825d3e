"""Sees, before the first answer is sampled, that a later phase of run_online.sh would not fail for its settings.

    python -m training.online.ready --stage dpo --flags " --beta 0.1 --loss_type sigmoid" --model models/sft

Rounds take hours, and what trains comes after what samples: a flag that is misspelled there would be told too late.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from training.online.pair import PairConfig
from training.rewards.functions import try_rewards
from training.rewards.kinds import require_reward_models
from training.utils.config.arguments import parse_args
from training.utils.config.flags import flag, require
from training.utils.config.sampled_config import SampleScoreConfig
from training.utils.config.stage_config import DPOConfig, PredictConfig, SFTConfig
from training.utils.data.check import load_records
from training.utils.data.reader import Reader
from training.utils.data.record import DataError
from training.utils.files.model_folder import resolve_checkpoint
from training.utils.process.command import run_command

STAGES = {"dpo": DPOConfig, "sft": SFTConfig}


@dataclass(frozen=True)
class ReadyConfig:
    stage: str = flag("dpo", f"What trains: {' or '.join(STAGES)}.")
    model: str = flag("", "The model that the first round starts from.")
    data: str = flag("", "The prompts.")
    images: str = flag("", "Folder that their pictures start from.")
    rounds: int = flag(1, "Rounds.")
    samples: int = flag(1, "Answers to each prompt.")
    flags: str = flag("", "Flags of what trains, as a shell has them, with a blank in front.")
    sample_flags: str = flag("", "Flags of eval.predict.")
    score_flags: str = flag("", "Flags of training.online.score.")
    pair_flags: str = flag("", "Flags of training.online.pair.")

    def __post_init__(self) -> None:
        require(self.stage in STAGES, f"--stage {self.stage}: unknown; expected {' or '.join(STAGES)}")
        require(bool(self.model), "--model: missing; expected the model that the first round starts from")
        require(self.rounds >= 1, f"--rounds {self.rounds}: expected 1 or more")


def main(config: ReadyConfig) -> None:
    """
    Raises:
        DataError: a model is none, or settings do not go together.
    """
    resolve_checkpoint(config.model)
    given = {"from_checkpoint": config.model, "data_path": "later"}
    parse_args(STAGES[config.stage], with_given(config.flags, output_dir="later", **given))
    prompts = given | {"data_path": config.data or "later", "image_folder": config.images}
    asking = parse_args(PredictConfig, with_given(config.sample_flags, output_path="later.jsonl", **prompts))
    scoring = parse_args(
        SampleScoreConfig, with_given(config.score_flags, output_path="later.jsonl", **given)
    )
    pairing = parse_args(PairConfig, with_given(config.pair_flags, samples="a", scores="b", output="c"))
    require_reward_models(scoring, scoring.reward_model_ckpt_path, "--samples", config.samples)
    if config.data and needs_truth(scoring):
        require_truth(asking, scoring)
    if config.samples < 2 and pairing.pick != "best":
        raise DataError(
            f"--samples {config.samples}: --pick {pairing.pick} ranks answers; expected 2 or more"
        )
    if (pairing.pick == "best") != (config.stage == "sft"):
        raise DataError(
            f"--pick {pairing.pick}: does not go with --stage {config.stage}; SFT imitates the best answer "
            "(--pick best), preference losses rank two or more"
        )
    print(f"{Path(config.model)}: settings of all phases are in order", flush=True)


def needs_truth(scoring: SampleScoreConfig) -> bool:
    return bool(scoring.shipped or scoring.captions or scoring.judges)


def require_truth(asking: PredictConfig, scoring: SampleScoreConfig) -> None:
    """
    Raises:
        DataError: a prompt lacks what the rewards check its answers against.
    """
    reader = Reader(
        0,
        image_folder=asking.image_folder or None,
        columns=asking.renamed_columns,
        needs_answer=scoring.needs_answers,
    )
    records = load_records(
        asking.data_path,
        reader,
        on_bad_record=asking.on_bad_record,
        verify_images="none",
        samples=asking.num_samples,
        seed=asking.seed,
    )
    try_rewards(scoring, records)


def with_given(flags: str, **given: str) -> list[str]:
    """A command line: what every start of a phase is given, then its flags."""
    return [*(word for name, value in given.items() for word in (f"--{name}", value)), *shlex.split(flags)]


if __name__ == "__main__":
    run_command(main, ReadyConfig)
