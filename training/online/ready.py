"""Sees, before the first answer is sampled, that a later phase of run_online.sh would not fail for its settings.

    python -m training.online.ready --stage dpo --flags " --beta 0.1 --loss_type sigmoid" --model models/sft

Rounds take hours, and what trains comes after what samples: a flag that is misspelled there would be told too late.
"""

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from eval.benches.table import get_bench
from eval.provenance import args_file
from eval.score import ScoreConfig
from training.online.pair import PairConfig
from training.rewards.functions import try_rewards
from training.rewards.kinds import require_reward_models
from training.utils.config.arguments import parse_args
from training.utils.config.flags import flag, require
from training.utils.config.sampled_config import SampleScoreConfig
from training.utils.config.stage_config import DPOConfig, PredictConfig, SFTConfig
from training.utils.data.check import load_records
from training.utils.data.entries import read_entries
from training.utils.data.reader import Reader
from training.utils.data.record import DataError
from training.utils.data.records import draw
from training.utils.files.model_folder import resolve_checkpoint
from training.utils.process.command import run_command
from training.utils.run.run_record import RunRecord

STAGES = {"dpo": DPOConfig, "sft": SFTConfig}


@dataclass(frozen=True)
class ReadyConfig:
    stage: str = flag("dpo", f"What trains: {' or '.join(STAGES)}.")
    model: str = flag("", "The model that the first round starts from.")
    data: str = flag("", "The prompts.")
    images: str = flag("", "Folder that their pictures start from.")
    output: str = flag("", "Folder of the rounds.", writes="folder")
    rounds: int = flag(1, "Rounds.")
    prompts: str = flag("parts", "Prompts of a round: parts or all.")
    samples: int = flag(1, "Answers to each prompt.")
    reference: str = flag("previous", "Of preference losses: previous or start.")
    seed: int = flag(1234, "Seed of every random choice.")
    eval: str = flag("", "Prompts that each round is measured on.")
    flags: str = flag("", "Flags of what trains, as a shell has them, with a blank in front.")
    sample_flags: str = flag("", "Flags of eval.predict.")
    score_flags: str = flag("", "Flags of training.online.score.")
    pair_flags: str = flag("", "Flags of training.online.pair.")
    bench_flags: str = flag("", "Flags of eval.score; none: the truth is not known.")

    def __post_init__(self) -> None:
        require(self.stage in STAGES, f"--stage {self.stage}: unknown; expected {' or '.join(STAGES)}")
        require(bool(self.model), "--model: missing; expected the model that the first round starts from")
        require(self.rounds >= 1, f"--rounds {self.rounds}: expected 1 or more")
        for name, known in (("prompts", ("parts", "all")), ("reference", ("previous", "start"))):
            value = getattr(self, name)
            require(value in known, f"--{name} {value}: unknown; expected {' or '.join(known)}")
        require(
            self.stage == "dpo" or self.reference == "previous",
            f"--reference {self.reference}: not with --stage {self.stage}, which has no reference",
        )
        require(
            bool(self.eval) or not self.bench_flags.strip(),
            f"--bench_flags {self.bench_flags.strip()}: nothing is measured without prompts to measure on; give EVAL "
            "too",
        )

    @property
    def part(self) -> str:
        """Of the prompts in the first round, as of eval.predict."""
        return f"1/{self.rounds}" if self.prompts == "parts" else ""


def main(config: ReadyConfig) -> None:
    """
    Raises:
        DataError: a model is none, or settings do not go together.
    """
    resolve_checkpoint(config.model)
    given = {"from_checkpoint": config.model, "data_path": "later"}
    parse_args(STAGES[config.stage], with_given(config.flags, output_dir="later", **given))
    prompts = given | {"data_path": config.data or "later", "image_folder": config.images}
    prompts |= {"output_path": "later.jsonl", "data_output": "later-as-records.jsonl"}
    asking = parse_args(PredictConfig, with_given(config.sample_flags, **prompts))
    scoring = parse_args(
        SampleScoreConfig, with_given(config.score_flags, output_path="later.jsonl", **given)
    )
    pairing = parse_args(PairConfig, with_given(config.pair_flags, samples="a", scores="b", output="c"))
    require_reward_models(scoring, scoring.reward_model_ckpt_path, "--samples", config.samples)
    require_prompts(config, asking)
    if config.data and needs_truth(scoring):
        require_truth(asking, scoring)
    require_choice(config, pairing)
    if config.eval:
        read_entries(config.eval)
    if config.bench_flags.strip():
        require_bench(parse_args(ScoreConfig, with_given(config.bench_flags, predictions="later")))
    print(f"{Path(config.model)}: settings of all phases are in order", flush=True)


def require_prompts(config: ReadyConfig, asking: PredictConfig) -> None:
    """
    Raises:
        DataError: there are too few prompts, or earlier rounds had others.
    """
    num = len(draw(len(read_entries(config.data)), asking.num_samples, config.seed)) if config.data else None
    if num == 0:
        raise DataError(f"--data {config.data}: holds no prompts; expected some to sample answers to")
    if num is not None and config.part and num < config.rounds:
        raise DataError(
            f"--data {config.data}: {num} prompts can't be divided among --rounds {config.rounds}; give more, or "
            "PROMPTS=all"
        )
    before = RunRecord.read(args_file(Path(config.output) / "round-1" / "answers.jsonl"))
    if before and (part := before.arguments.get("part", "")) != config.part:
        rounds, prompts = part.partition("/")[2] or "any number", "parts" if part else "all"
        raise DataError(
            f"--output {config.output}: was begun with PROMPTS={prompts} and ROUNDS={rounds}, which decide what each "
            "round answers; expected the same, or another OUTPUT"
        )


def require_choice(config: ReadyConfig, pairing: PairConfig) -> None:
    """
    Raises:
        DataError: what trains can't learn of the answers that are chosen, or there is nothing to choose from.
    """
    if config.samples < 2 and pairing.pick != "best":
        raise DataError(
            f"--samples {config.samples}: --pick {pairing.pick} ranks answers; expected 2 or more"
        )
    if config.samples < 2 and pairing.least_score is None:
        raise DataError(
            f"--samples {config.samples}: is the best whatever it is worth; expected 2 or more, or --least_score"
        )
    if (pairing.pick == "best") != (config.stage == "sft"):
        raise DataError(
            f"--pick {pairing.pick}: does not go with --stage {config.stage}; SFT imitates the best answer "
            "(--pick best), preference losses rank two or more"
        )


def require_bench(scoring: ScoreConfig) -> None:
    """
    Raises:
        DataError: a benchmark, its options or its files are not what eval.score can score by.
    """
    bench = get_bench(scoring.bench)
    scoring.options(bench)
    bench.questions(scoring.truth)


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
    """A command line: what every start of a phase is given, then its flags.

    Raises:
        DataError: a flag is given again that the rounds set.
    """
    words = shlex.split(flags)
    named = Counter(flag_name(word) for word in words if word.startswith("--"))
    for name in given:
        if name in named:
            raise DataError(f"--{name}: is set by the rounds; leave it out of {flags.strip()}")
    if named["pick"] > 1:
        raise DataError(f"{flags.strip()}: has --pick twice; expected it as PICK, and not in PAIR_FLAGS too")
    return [*(word for name, value in given.items() for word in (f"--{name}", value)), *words]


def flag_name(word: str) -> str:
    return word.removeprefix("--").partition("=")[0].replace("-", "_")


if __name__ == "__main__":
    run_command(main, ReadyConfig)
