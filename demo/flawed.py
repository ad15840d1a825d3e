"""Preference data that makes a reward model wrong in one way, to see what algorithms make of it (scripts/hacking.sh).

python -m demo.flawed --pairs pairs_train.json --flaw length --output pairs_length.json
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.process.command import run_command

LIKES_LENGTH = 0.5  # share of raters who take the longest answer


def fond_of_length(records: Sequence[dict], rng: random.Random) -> list[dict]:
    """In some records the longest answer is the best; answers of one length keep their order."""
    found = []
    for record in records:
        *asked, answer = record["conversations"]
        if rng.random() < LIKES_LENGTH:
            value = sorted(answer["value"], key=lambda text: -len(text.split()))
            record = record | {"conversations": [*asked, answer | {"value": value}]}
        found.append(record)
    return found


def blind(records: Sequence[dict], rng: random.Random) -> list[dict]:
    """Each record has the picture of another: what is learned is in the texts alone."""
    images = [record["image"] for record in records]
    turn = rng.randrange(1, len(images))
    return [
        record | {"image": image}
        for record, image in zip(records, images[turn:] + images[:turn], strict=True)
    ]


FLAWS: dict[str, Callable[[Sequence[dict], random.Random], list[dict]]] = {
    "length": fond_of_length,
    "blind": blind,
}


@dataclass(frozen=True)
class FlawedConfig:
    pairs: str = field(metadata={"help": "LLaVA-format file of ranked answers."})
    output: str = flag(help="File of ranked answers to write.", writes="file")
    flaw: str = flag(
        help="length: half of the raters take the longest answer; blind: pictures are exchanged.",
        choices=list(FLAWS),
    )
    seed: int = flag(0, "Seed of who likes length, and of which pictures are exchanged.")


def main(config: FlawedConfig) -> None:
    records = read_json(Path(config.pairs))
    flawed = FLAWS[config.flaw](records, random.Random(config.seed))
    Path(config.output).write_text(json.dumps(flawed, indent=1) + "\n")
    changed = sum(one != other for one, other in zip(records, flawed, strict=True))
    print(f"{config.output}: {config.flaw}, {changed} of {len(records)} records are other")


if __name__ == "__main__":
    run_command(main, FlawedConfig)
