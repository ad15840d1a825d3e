"""Scores predictions: `python -m eval.score --bench amber --truth FILE --predictions FILE --output FILE`."""

import json
import sys
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from transformers import HfArgumentParser

from data.demo_text import objects_in
from eval.benches import amber, pope
from eval.benches.scored import Scored


@dataclass(frozen=True)
class ScoreConfig:
    bench: str = field(metadata={"help": "amber (free descriptions) or pope (yes-no questions)."})
    truth: str = field(metadata={"help": "What is true of the pictures."})
    predictions: str = field(metadata={"help": "JSON Lines of eval/predict.py."})
    output: str = field(default="", metadata={"help": "JSON file to write; none: only print."})
    best: bool = field(default=False, metadata={"help": "Score `response`, the best of the samples, alone."})
    parser: str = field(
        default="official", metadata={"help": "How pope reads an answer: official or strict."}
    )


def score_amber(config: ScoreConfig, predictions: list[dict]) -> Scored:
    truth = json.loads(Path(config.truth).read_text())
    return amber.score(truth["scenes"], predictions, partial(objects_in, names=truth["objects"]))


def score_pope(config: ScoreConfig, predictions: list[dict]) -> Scored:
    return pope.score(json.loads(Path(config.truth).read_text()), predictions, config.parser)


BENCHES = {"amber": score_amber, "pope": score_pope}


def main(config: ScoreConfig) -> None:
    if config.bench not in BENCHES:
        sys.exit(f"error: --bench {config.bench}: unknown; expected one of {', '.join(BENCHES)}")
    for file in (config.truth, config.predictions):
        if not Path(file).is_file():
            sys.exit(f"error: {file}: no such file")
    lines = Path(config.predictions).read_text(encoding="utf-8-sig").splitlines()
    predictions = [json.loads(line) for line in lines if line.strip()]
    if config.best:
        predictions = [{"id": line["id"], "response": line["response"]} for line in predictions]
    scored = BENCHES[config.bench](config, predictions)
    if not scored.n:
        sys.exit(f"error: {config.predictions}: answers none of the questions of {config.truth}")
    for warning in scored.warnings:
        print(f"warning: {warning}")
    figures = "  ".join(f"{name} {value:.1f}" for name, value in scored.metrics.items())
    print(f"{config.bench}, {scored.n} answers: {figures}")
    if config.output:
        Path(config.output).parent.mkdir(parents=True, exist_ok=True)
        Path(config.output).write_text(json.dumps(asdict(scored), indent=1) + "\n")


if __name__ == "__main__":
    main(HfArgumentParser(ScoreConfig).parse_args_into_dataclasses()[0])
