"""Scores what a model of the demo answered: every kind of answers that is there, by the benchmark's own scorer.

python -m demo.score --demo models/demo --run sft
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from demo.world import UNSEEN
from eval.score import ScoreConfig, report, show
from training.utils.config.flags import flag
from training.utils.data.record import DataError
from training.utils.process.command import run_command


@dataclass(frozen=True)
class Kind:
    """A kind of answers: the benchmark that scores it, and the files of truth in the world's folder."""

    bench: str
    truth: tuple[str, ...]
    best: bool = False


KINDS = {
    "greedy": Kind("descriptions", ("truth_{split}.json",)),
    "sampled": Kind("descriptions", ("truth_{split}.json",)),
    "best": Kind("descriptions", ("truth_{split}.json",), best=True),
    "unseen": Kind("descriptions", tuple(f"truth_{split}.json" for split in UNSEEN)),
    "pope": Kind("pope", ("pope_{split}",)),
    "amber": Kind("amber", ("amber_{split}",)),
    "count": Kind("exact_match", ("count_{split}.json",)),
    "choice": Kind("multiple_choice", ("choice_{split}.json",)),
}


@dataclass(frozen=True)
class DemoScoreConfig:
    demo: str = field(metadata={"help": "Output folder of scripts/demo.sh."})
    run: str = flag(help="What was measured: answers/RUN-KIND.jsonl are scored into scores/RUN-KIND.json.")
    split: str = field(default="test", metadata={"help": "Split that was measured."})


def main(config: DemoScoreConfig) -> None:
    demo = Path(config.demo)
    found = {kind: demo / "answers" / f"{config.run}-{kind}.jsonl" for kind in KINDS}
    found = {kind: file for kind, file in found.items() if file.is_file()}
    if not found:
        raise DataError(f"--run {config.run}: {demo}/answers holds none of {', '.join(KINDS)}")
    (demo / "scores").mkdir(exist_ok=True)
    for kind, answers in found.items():
        how = KINDS[kind]
        truth = [str(demo / "world" / file.format(split=config.split)) for file in how.truth]
        result = report(ScoreConfig(how.bench, truth, str(answers), best=how.best))
        (demo / "scores" / f"{config.run}-{kind}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(f"{config.run}, {kind}: {show(result)}")


if __name__ == "__main__":
    run_command(main, DemoScoreConfig)
