"""Public data sets to the formats of `data/README.md`.

    python -m data.convert preferences llava_7b_v1_preference.json --output rewards.json --num_test 500
    python -m data.convert prompts llava_instruct_150k.json --output prompts.json

`preferences` reads LLaVA-Human-Preference-10K: `image`, `conversations`, `preference` (1: `output_1` is better, 2:
`output_2`), `output_1.value`, `output_2.value`. `prompts` reads LLaVA-Instruct conversations. Turns stay turns: the
template is applied in training, so the files serve any model.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError
from training.utils.process.command import run_command


class ConvertError(ValueError):
    """An entry lacks what the conversion needs."""


@dataclass(frozen=True)
class ConvertConfig:
    kind: str = flag(help="`preferences` or `prompts`.", positional=True)
    input: str = flag(help="JSON file to read.", positional=True)
    output: str = flag(help="JSON file to write.", writes="file")
    num_test: int = flag(0, "Records to put into a file of their own, OUTPUT.test.json.")
    seed: int = flag(0, "Seed of the split.")


def preference(entry: dict) -> dict:
    """One human preference as ranked answers."""
    choice = entry["preference"]
    if choice not in (1, 2):
        raise ConvertError(f"`preference` is {choice!r}, expected 1 or 2")
    answers = [entry["output_1"]["value"], entry["output_2"]["value"]]
    turns = asked(entry["conversations"])
    ranked = {"from": "gpt", "value": answers if choice == 1 else answers[::-1]}
    return named(entry) | {"conversations": [*turns, ranked]}


def prompt(entry: dict) -> dict:
    """A conversation up to its last question; the answer is kept for reading, PPO does not use it."""
    turns = entry["conversations"]
    last = turns[-1]["value"] if turns[-1]["from"] == "gpt" else ""
    return named(entry) | {"conversations": [*asked(turns), {"from": "gpt", "value": last}]}


def asked(turns: list[dict]) -> list[dict]:
    """The turns up to the last human one."""
    humans = [place for place, turn in enumerate(turns) if turn["from"] == "human"]
    if not humans:
        raise ConvertError("`conversations` holds no human turn")
    return turns[: humans[-1] + 1]


def named(entry: dict) -> dict:
    return {name: entry[name] for name in ("id", "image") if name in entry}


CONVERSIONS = {"preferences": preference, "prompts": prompt}


def main(config: ConvertConfig) -> None:
    if config.kind not in CONVERSIONS:
        raise DataError(f"--kind {config.kind}: unknown; expected one of {', '.join(CONVERSIONS)}")
    entries = read_json(Path(config.input))
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{config.input}: expected a JSON list of objects")
    records = []
    for index, entry in enumerate(entries):
        try:
            records.append(CONVERSIONS[config.kind](entry))
        except (KeyError, ConvertError, TypeError, IndexError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else error
            raise DataError(f"{config.input}[{index}] id={entry.get('id')}: {what}") from None
    test = set(random.Random(config.seed).sample(range(len(records)), min(config.num_test, len(records))))
    parts = {Path(config.output): [record for i, record in enumerate(records) if i not in test]}
    if test:
        parts[Path(config.output).with_suffix(".test.json")] = [records[i] for i in sorted(test)]
    for file, part in parts.items():
        file.write_text(json.dumps(part, indent=1, ensure_ascii=False) + "\n")
        print(f"{file}: {len(part)} records")


if __name__ == "__main__":
    run_command(main, ConvertConfig)
