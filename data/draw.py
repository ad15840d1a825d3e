"""Records drawn at random from one or several files, as one file.

    python -m data.draw --files text.json pairs.json --counts 2000 3000 --output mixed.json

Image paths are written as they are: files with images that are mixed start from one folder.
"""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from training.utils.config.flags import flag
from training.utils.data.entries import read_entries
from training.utils.data.record import DataError
from training.utils.process.command import run_command


@dataclass(frozen=True)
class DrawConfig:
    files: list[str] = field(metadata={"help": "JSON or JSON Lines files of records."})
    counts: list[int] = field(
        metadata={"help": "How many to draw from each; all of it where it holds fewer."}
    )
    output: str = flag(help="JSON file to write, in mixed order.", writes="file")
    seed: int = field(default=0, metadata={"help": "Seed of the draw."})


def main(config: DrawConfig) -> None:
    if len(config.counts) != len(config.files):
        raise DataError(
            f"--counts: found {len(config.counts)}, expected one for each of {len(config.files)} files"
        )
    rng = random.Random(config.seed)
    drawn = []
    for file, count in zip(config.files, config.counts, strict=True):
        entries = list(read_entries(Path(file)))
        drawn += rng.sample(entries, min(count, len(entries)))
    rng.shuffle(drawn)
    Path(config.output).parent.mkdir(parents=True, exist_ok=True)
    Path(config.output).write_text(json.dumps(drawn, indent=1, ensure_ascii=False) + "\n")
    print(f"{config.output}: {len(drawn)} records")


if __name__ == "__main__":
    run_command(main, DrawConfig)
