"""Public data sets to the formats of `data/README.md`.

    python -m data.convert preferences llava_7b_v1_preference.json --output rewards.json --num_test 500
    python -m data.convert prompts llava_instruct_150k.json --output prompts.json

`preferences` reads LLaVA-Human-Preference-10K: `image`, `conversations`, `preference` (1: `output_1` is better, 2:
`output_2`), `output_1.value`, `output_2.value`. `prompts` reads LLaVA-Instruct conversations. Turns stay turns: the
template is applied in training, so the files serve any model.
"""

import json
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser


class ConvertError(ValueError):
    """An entry lacks what the conversion needs."""


@dataclass(frozen=True)
class ConvertConfig:
    output: str = field(metadata={"help": "JSON file to write."})
    num_test: int = field(
        default=0, metadata={"help": "Records to put into a file of their own, OUTPUT.test.json."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the split."})


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


def main(argv: list[str]) -> None:
    if len(argv) < 2 or argv[0] not in CONVERSIONS:
        sys.exit(f"usage: python -m data.convert {{{','.join(CONVERSIONS)}}} FILE --output FILE")
    convert, source = CONVERSIONS[argv[0]], Path(argv[1])
    (config,) = HfArgumentParser(ConvertConfig).parse_args_into_dataclasses(argv[2:])
    records = []
    for index, entry in enumerate(json.loads(source.read_text())):
        try:
            records.append(convert(entry))
        except (KeyError, ConvertError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else error
            sys.exit(f"error: {source}[{index}] id={entry.get('id')}: {what}")
    test = set(random.Random(config.seed).sample(range(len(records)), min(config.num_test, len(records))))
    parts = {Path(config.output): [record for i, record in enumerate(records) if i not in test]}
    if test:
        parts[Path(config.output).with_suffix(".test.json")] = [records[i] for i in sorted(test)]
    for file, part in parts.items():
        file.write_text(json.dumps(part, indent=1, ensure_ascii=False) + "\n")
        print(f"{file}: {len(part)} records")


if __name__ == "__main__":
    main(sys.argv[1:])
