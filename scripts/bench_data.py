"""How long data take to start and how much memory they need, on generated records.

    python -m scripts.bench_data --texts 1000000 --photos 20000 --parquet 100000 --folder /tmp/bench

Each start is a process of its own. The first converts and checks the data, the second finds what the first has kept.
"""

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from training.utils.config.flags import flag
from training.utils.process.command import run_command

WORDS = (
    "the a of on in under behind small large red blue green cat dog table chair window street person holds looks "
    "stands near two three there is are and with while some bright dark round picture shows probably left right"
).split()


@dataclass(frozen=True)
class BenchConfig:
    texts: int = field(default=100_000, metadata={"help": "Text records of about 1.4 KB, as JSON Lines."})
    photos: int = field(
        default=20_000, metadata={"help": "Records with a 640x480 JPEG each, as a JSON list."}
    )
    parquet: int = field(default=20_000, metadata={"help": "Rows of a parquet file with pictures inside."})
    folder: str = flag("/tmp/bench_data", "Folder to write the data into.", writes="folder")
    start: str = field(default="", metadata={"help": "Measure one start with this file, and nothing else."})


def main(config: BenchConfig) -> None:
    if config.start:
        print(json.dumps(measured_start(Path(config.start), Path(config.folder) / "model")))
        return
    folder = Path(config.folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tiny_model(folder / "model")
    made = {
        "text": (write_texts(folder / "text.jsonl", config.texts), config.texts),
        "photos": (write_photos(folder / "photos", config.photos), config.photos),
        "parquet": (write_parquet(folder / "pictures.parquet", config.parquet), config.parquet),
    }
    print(
        "| data | records | MB | first start, s | ms a record | second start, s | RSS after it, MiB | of it private |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, (file, number) in made.items():
        if number:
            first, second = start(file, config), start(file, config)
            assert first["batch"] == second["batch"] == second["eager"], "the first batch is another"
            print(
                f"| {name} | {number:,} | {file.stat().st_size / 1e6:.0f} | {first['seconds']:.1f} "
                f"| {1000 * first['seconds'] / number:.3f} | {second['seconds']:.1f} | {second['rss_mib']:.0f} "
                f"| {second['private_mib']:.0f} |",
                flush=True,
            )


def start(file: Path, config: BenchConfig) -> dict:
    """One start in a process of its own, with caches below the bench's folder."""
    environment = os.environ | {"HF_DATASETS_CACHE": f"{config.folder}/cache"}
    command = [sys.executable, "-m", "scripts.bench_data", "--start", str(file), "--folder", config.folder]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured_start(file: Path, model: Path) -> dict:
    """Seconds until a stage has its records, memory then, and the first batch by lazy and by eager reading."""
    from training.utils.config.stage_config import SFTConfig
    from training.utils.data.loader import Trees
    from training.utils.loop.prepare import build_encoder, load_data
    from training.utils.process import dist

    config = SFTConfig(
        from_checkpoint=str(model),
        data_path=str(file),
        output_dir=str(file.parent / "out"),
        max_seq_len=2048,
        per_device_train_batch_size=8,
        verify_images="header",
    )
    dist.init_distributed(config.seed)
    encoder = build_encoder(config, config.from_checkpoint)
    before = time.monotonic()
    data = load_data(config, encoder, min_responses=1)
    seconds = time.monotonic() - before
    memory = current_memory()
    numbers = next(iter(data.sampler))
    lazy, _ = Trees(data.train, encoder.encode_all).__getitems__(numbers)
    wanted = {int(data.train.places[number]) for number in numbers}
    eager = {place: entry for place, entry in enumerate(data.train.entries) if place in wanted}
    shard = data.train.entries.shards[0]
    records = [
        data.train.reader.record(eager[int(place)], f"{shard.name}[{place}]", shard.folder)
        for place in data.train.places[numbers]
    ]
    return {
        "seconds": seconds,
        **memory,
        "batch": digest(lazy),
        "eager": digest(encoder.encode_all(records)),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def digest(trees: list) -> list:
    """What two batches are compared by."""
    return [
        [tree.id, tree.prompt_ids, [asdict(response)["ids"] for response in tree.responses]]
        + [float(tensor.double().sum()) for _, tensor in sorted(tree.vision.items())]
        for tree in trees
    ]


def current_memory() -> dict[str, float]:
    """Resident memory of this process, MiB; files that it shares with others are in `rss_mib` alone."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kib = {name: int(lines[name].split()[0]) for name in ("VmRSS", "RssFile")}
    return {"rss_mib": kib["VmRSS"] / 1024, "private_mib": (kib["VmRSS"] - kib["RssFile"]) / 1024}


def tiny_model(folder: Path) -> None:
    from demo.model import TinyConfig, build_tiny_llava

    build_tiny_llava(TinyConfig(output=str(folder), texts="data/samples"))


def sentences(rng: np.random.Generator, num_words: int) -> str:
    return " ".join(rng.choice(WORDS, num_words))


def entry(rng: np.random.Generator, number: int, num_words: int, **more: object) -> dict:
    question, answer = sentences(rng, num_words // 5), sentences(rng, num_words)
    turns = [{"from": "human", "value": f"{question}?"}, {"from": "gpt", "value": f"{answer}."}]
    return {"id": f"made-{number}", "conversations": turns, **more}


def write_texts(file: Path, number: int) -> Path:
    rng = np.random.default_rng(0)
    with file.open("w") as opened:
        for i in range(number):
            opened.write(json.dumps(entry(rng, i, 220)) + "\n")
    return file


def photo(rng: np.random.Generator, size: tuple[int, int]) -> bytes:
    """A JPEG with as much detail as a photograph has."""
    coarse = Image.fromarray(rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_photos(folder: Path, number: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(1)
    sizes = [(640, 480), (480, 640), (640, 427), (500, 375), (612, 612)]
    photos = [photo(rng, size) for size in sizes]
    entries = []
    for i in range(number):
        (folder / f"{i}.jpg").write_bytes(photos[i % len(photos)])
        entries.append(entry(rng, i, 60, image=f"{i}.jpg"))
    (folder / "photos.json").write_text(json.dumps(entries))
    return folder / "photos.json"


def write_parquet(file: Path, number: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(2)
    photos = [photo(rng, size) for size in ((640, 480), (480, 640))]
    with pq.ParquetWriter(file, schema := pa.schema(
        [("question", pa.string()), ("chosen", pa.string()), ("rejected", pa.string()),
         ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    )) as writer:  # fmt: skip
        for first in range(0, number, 1000):
            rows = [
                {"question": sentences(rng, 12), "chosen": sentences(rng, 40), "rejected": sentences(rng, 41),
                 "image": {"bytes": photos[i % 2], "path": f"{i}.jpg"}}
                for i in range(first, min(number, first + 1000))
            ]  # fmt: skip
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return file


if __name__ == "__main__":
    run_command(main, BenchConfig)
