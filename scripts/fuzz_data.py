"""Rows of every format and pictures of every kind, damaged at random: each is read right, or is one clear failure.

    python -m scripts.fuzz_data --records 12000 --renamed 10000 --seed 0

Each row goes the whole way: a file, the check before a run, and the encoder. Ends with status 1 if anything else
happened: an exception that is no message, a row that took more than ten seconds, pictures that were lost in silence.
"""

import json
import random
import re
import resource
import signal
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demo.model import TinyConfig, build_tiny_llava
from scripts.fuzz_rows import damaged_picture, damaged_row, renamed_row
from training.utils.data.encode import Encoder
from training.utils.data.entries import Entries, Shard, read_entries
from training.utils.data.look import Inspector, look
from training.utils.data.reader import Reader
from training.utils.data.record import DataError
from training.utils.data.records import Records
from training.utils.model.llava import Llava
from training.utils.process.command import run_command

SLOWEST_S = 10
LONGEST = 1_500  # characters of a message
UNEXPECTED = re.compile(r"^[A-Za-z_.]+(Error|Exception|Warning|Interrupt|Iteration|Exit): ")


@dataclass(frozen=True)
class FuzzConfig:
    records: int = field(default=12_000, metadata={"help": "Damaged rows."})
    renamed: int = field(default=10_000, metadata={"help": "Rows with one key renamed."})
    seed: int = field(default=0, metadata={"help": "Seed of the damage."})


def main(config: FuzzConfig) -> int:
    """Prints what happened; the number of rows to which something did that should not."""
    rng = random.Random(config.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_tiny_llava(TinyConfig(output=str(folder / "model"), texts="data/samples"))
        encoder = Encoder(Llava().load_processor(str(folder / "model")), Llava(), "auto", max_seq_len=1024)
        damaged = Outcomes()
        for _ in range(0, config.records, 100):
            look_at_damaged(rng, min(100, config.records), encoder, folder, damaged)
        blind = Counter(renamed_row(rng) for _ in range(config.renamed))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{config.records:,} damaged rows: {damaged}")
    print(f"{config.renamed:,} rows with one key renamed: {dict(sorted(blind.items()))}")
    print(f"peak memory {peak_mib:.0f} MiB")
    for example in damaged.wrong[:20]:
        print(example)
    return len(damaged.wrong) + blind["blind"]


class Outcomes:
    """What became of damaged rows."""

    def __init__(self) -> None:
        self.read = self.refused = 0
        self.wrong: list[str] = []

    def __str__(self) -> str:
        return f"{self.read:,} read, {self.refused:,} refused by a message, {len(self.wrong):,} otherwise"


def look_at_damaged(
    rng: random.Random, number: int, encoder: Encoder, folder: Path, outcomes: Outcomes
) -> None:
    """Damages some rows and sends them the whole way."""
    (folder / "picture.png").write_bytes(damaged_picture(rng))
    rows = [damaged_row(rng) for _ in range(number)]
    try:
        entries = written(rng, rows, folder)
    except DataError:  # JSON Lines that begin like a list
        outcomes.refused += number
        return
    reader = Reader(min_responses=rng.randrange(3), max_responses=rng.choice([None, 2]))
    with time_limit(SLOWEST_S * number):
        verdict = look(entries, np.arange(len(entries)), reader, Inspector(encoder, "full"), num_workers=1)
        for each in verdict.failures:
            outcomes.refused += 1
            if (
                UNEXPECTED.match(each.reason)
                or len(str(each)) > LONGEST
                or not str(each).isprintable()
                and "\n" not in str(each)
            ):
                outcomes.wrong.append(str(each)[:300])
        records = Records(entries, reader, verdict.places, verdict.facts)
        for place in range(len(records)):
            try:
                encoder.encode(records[place])
                outcomes.read += 1
            except Exception as error:  # the check let it pass: nothing may happen any more
                outcomes.wrong.append(f"{records.where(place)}: {type(error).__name__}: {error}"[:300])


def written(rng: random.Random, rows: list[Any], folder: Path) -> Entries:
    """The rows as a file has them, or as a data set gives them."""
    if rng.random() < 0.2:
        return Entries([Shard("memory", rows, folder, 0)])
    file = folder / rng.choice(["rows.json", "rows.jsonl"])
    if file.suffix == ".json":
        file.write_text(json.dumps(rows))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_entries(file)


class time_limit:
    """Ends what takes longer with a message: a hang is a fault."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._stop)
        signal.alarm(self.seconds)

    def _stop(self, *_: object) -> None:
        raise SystemExit(f"error: a hang: more than {self.seconds} s")

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)


if __name__ == "__main__":
    run_command(lambda config: int(main(config) > 0), FuzzConfig)
