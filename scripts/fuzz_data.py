"""Rows of every format and pictures of every kind, damaged at random: each is read right, or is one clear failure.

    python -m scripts.fuzz_data --records 12000 --renamed 10000 --seed 0

Each row goes the whole way: a file, the check before a run, and the encoder. Ends with status 1 if anything else
happened: an exception that is no message, a row that took more than ten seconds, pictures that were lost in silence.
"""

import copy
import io
import json
import math
import random
import re
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import HfArgumentParser

from data.demo_model import TinyConfig, build_tiny_llava
from data.make_format_samples import samples
from training.utils.data.encode import Encoder
from training.utils.data.entries import Entries, Shard, read_entries
from training.utils.data.formats import captions, is_captions, normalise
from training.utils.data.look import Inspector, look
from training.utils.data.record import DataError
from training.utils.data.records import Reader, Records
from training.utils.model.llava import Llava

SLOWEST_S = 10
LONGEST = 1_500  # characters of a message
UNEXPECTED = re.compile(r"^[A-Za-z_.]+(Error|Exception|Warning|Interrupt|Iteration|Exit): ")
VALUES: list[Any] = [
    None, "", " ", 0, -3, 1.5, math.nan, math.inf, True, False, "text", "[1]", '{"a": 1}', "\ud800", "\0", "<image>",
    "x" * 100_000, "data:image/png;base64,!", "data:,", "http://x.org/a.png", "a,,b", "../../etc/passwd", "/dev/zero",
    "picture.png", ["picture.png", "picture.png"], [], {}, [None], [[]], ["a", 5], [{"a": None}], {"bytes": None},
    {"path": 5}, {"from": []}, "</s><s>[INST]", "\u202e\u200b", "😀" * 50, list(range(2000)),
]  # fmt: skip
NAMES = ["{}s", "{}_path", "my_{}", "{}_x", "x{}", "note", "meta", "video", "images2", "Bild", "{}1", "_{}"]


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
    entries = written(rng, rows, folder)
    reader = Reader(min_responses=rng.randrange(3), max_responses=rng.choice([None, 2]))
    with time_limit(SLOWEST_S * number):
        verdict = look(entries, np.arange(len(entries)), reader, Inspector(encoder, "full"), num_workers=1)
        for each in verdict.failures:
            outcomes.refused += 1
            if UNEXPECTED.match(each.reason) or len(str(each)) > LONGEST or not str(each).isprintable() and "\n" not in str(each):
                outcomes.wrong.append(str(each)[:300])
        records = Records(entries, reader, verdict.places, verdict.of("images"))
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


# -- rows ------------------------------------------------------------------------------------------------

CONTENTS = samples()
ROWS = [row for content in CONTENTS.values() for row in (captions(content) if is_captions(content) else content)]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of everything that lies inside a row."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


def parent_of(row: Any, path: tuple) -> Any:
    for key in path[:-1]:
        row = row[key]
    return row


def with_our_picture(row: Any) -> Any:
    """The row with the picture of this run in place of its own."""
    if isinstance(row, dict):
        return {key: with_our_picture(value) for key, value in row.items()}
    if isinstance(row, list):
        return [with_our_picture(value) for value in row]
    is_name = isinstance(row, str) and re.fullmatch(r"[^\n]+\.(png|jpg)", row)
    return "picture.png" if is_name and "," not in row else row


def damaged_row(rng: random.Random) -> Any:
    """A row of some format with up to three things changed."""
    row = with_our_picture(copy.deepcopy(rng.choice(ROWS)))
    for _ in range(rng.randrange(4)):
        found = list(places(row))
        if not found:
            break
        path = rng.choice(found)
        parent, key = parent_of(row, path), path[-1]
        kind = rng.randrange(6)
        if kind == 0 and isinstance(parent, dict):
            parent[rng.choice(NAMES).format(key)] = parent.pop(key)
        elif kind == 1 and isinstance(parent, dict):
            del parent[key]
        elif kind == 2:
            parent[key] = rng.choice([[parent[key]], {"nested": parent[key]}, [parent[key]] * 2, str(parent[key])])
        elif kind == 3 and isinstance(parent, dict):
            parent[rng.choice(["image", "images", "system", "tools", "weight", "label", "score"])] = rng.choice(VALUES)
        else:
            parent[key] = rng.choice(VALUES)
    return row if rng.random() > 0.01 else rng.choice([None, 5, "text", [], [row], {}])


def renamed_row(rng: random.Random) -> str:
    """What becomes of a row of which one key has another name: `blind` if pictures are lost without a word."""
    row = copy.deepcopy(rng.choice(ROWS))
    images = len(normalise(copy.deepcopy(row)).images)
    path = rng.choice([path for path in places(row) if isinstance(path[-1], str)])
    parent = parent_of(row, path)
    name = rng.choice(NAMES).format(path[-1])
    if name in parent:
        return "the same"
    parent[name] = parent.pop(path[-1])
    try:
        return "blind" if len(normalise(row).images) < images else "read with its pictures"
    except DataError:
        return "refused"


# -- pictures --------------------------------------------------------------------------------------------


def damaged_picture(rng: random.Random) -> bytes:
    """A picture of some kind, size and format; often cut, with flipped bits, or no picture at all."""
    mode = rng.choice(["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "I", "F", "YCbCr", "HSV", "LAB"])
    size = rng.choice([(40, 30), (1, 1), (3, 900), (640, 480), (30_000, 1), (1, 5_000), (300, 1), (201, 1)])
    image = Image.effect_noise(size, 60)
    image = image.convert("RGB").convert(mode) if mode not in ("I;16", "I", "F") else image.convert(mode)
    buffer = io.BytesIO()
    try:
        image.save(buffer, rng.choice(["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM", "EPS", "ICO", "TGA"]))
    except (OSError, ValueError, KeyError):
        image.convert("RGB").save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    kind = rng.randrange(5)
    if kind == 0:
        content = content[: rng.randrange(len(content) + 1)]
    elif kind == 1:
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 2 and rng.random() < 0.3:
        content = bytearray(rng.randbytes(rng.randrange(200)))
    return bytes(content)


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
    sys.exit(1 if main(HfArgumentParser(FuzzConfig).parse_args_into_dataclasses()[0]) else 0)
