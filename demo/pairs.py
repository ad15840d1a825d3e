"""Sampled answers, ranked by the truth of the demo world: preference data as the field makes it.

python -m demo.pairs --truth truth_train.json --predictions samples.jsonl --output pairs_sampled.json
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo.records import record
from demo.scene import scene_of
from eval.benches.descriptions import QUESTION
from training.utils.answers.mentions import objects_in
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.files import jsonl
from training.utils.process.command import run_command


@dataclass(frozen=True)
class PairsConfig:
    truth: str = field(metadata={"help": "truth_*.json of the world."})
    predictions: str = field(
        metadata={"help": "Sampled answers of eval/predict.py, several for each prompt."}
    )
    output: str = flag(help="LLaVA-format file of ranked answers to write.", writes="file")
    also: list[str] = field(default_factory=list, metadata={"help": "Files of ranked answers to add."})


def num_errors(text: str, objects: Sequence[str], names: Sequence[str]) -> int:
    """Objects that are named and not there, named twice, or there and not named."""
    named = objects_in(text, names)
    return len(set(named) ^ set(objects)) + len(named) - len(set(named))


def ranked(responses: list[str], objects: list[str], names: list[str]) -> list[str]:
    """One answer for each number of errors, the fewest first: answers with as many errors are not ranked, nor are
    empty ones, which no record can hold."""
    by_errors: dict[int, str] = {}
    for response in filter(str.strip, responses):
        by_errors.setdefault(num_errors(response, objects, names), response)
    return [by_errors[errors] for errors in sorted(by_errors)]


def main(config: PairsConfig) -> None:
    truth = read_json(Path(config.truth), "objects", "scenes")
    scenes = {scene["id"]: scene for scene in truth["scenes"]}
    records = []
    for line in jsonl.read(Path(config.predictions)):
        scene = scenes[line["id"]]
        answers = ranked(line["responses"], scene["objects"], truth["objects"])
        if len(answers) > 1:
            name = f"{scene['id']}-sampled"
            records.append(record(scene_of(scene), QUESTION, answers, name=name, source="sampled"))
    print(f"{len(records)} prompts with answers that differ in their number of errors")
    for file in config.also:
        records += read_json(Path(file))
    Path(config.output).write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    run_command(main, PairsConfig)
