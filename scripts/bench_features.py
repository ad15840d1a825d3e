"""Seconds of a step of SFT's second epoch with a frozen tower, with and without `--cache_image_features`.

    python -m scripts.bench_features [--rounds 15] [--batch_size 2]

A step opens and encodes its records, goes forward and backward and moves weights: of projector and language model,
or of the projector alone. Pictures are JPEGs of 640 x 480; the model is that of `bench_cases.py`: hidden size 256, a
tower of 6 layers, 576 image tokens. Both ways take turns in one process, fp32 on a CPU and bf16 on a GPU. Processor
time is told too: on a machine that is not quiet it says more.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from demo.model import TinyConfig, build_tokenizer, write_llava
from scripts.bench_cases import build, move, trained
from scripts.bench_trees import seconds
from training.utils.config.flags import flag
from training.utils.config.stage_config import SFTConfig
from training.utils.data.feature_cache import keep_features
from training.utils.data.loader import step_batches
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.model.build_model import build_policy
from training.utils.process import dist
from training.utils.process.command import run_command

NUM_RECORDS = 24
WIDTH, HEIGHT = 640, 480
QUESTION = "<image>\nWhat do you see, and where does each of the things stand that you see?"
ANSWER = "There is a red circle on the left, and a blue square stands on the right of a green star. " * 3


def write_model(folder: Path) -> None:
    config = build().config
    words = build_tokenizer(TinyConfig(output="", texts="data/samples"))
    write_llava(folder, config.vision_config, config.text_config, words)


def write_records(folder: Path) -> None:
    """Pictures about as rough as photographs."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(NUM_RECORDS):
        coarse = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        rough = (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(rough).save(folder / f"{number}.jpg")
        turns = [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]
        records.append({"id": str(number), "image": f"{number}.jpg", "conversations": turns})
    (folder / "data.json").write_text(json.dumps(records))


def training_step(folder: Path, batch_size: int, trains_language: bool, cache: str) -> Callable[[], None]:
    config = SFTConfig(
        from_checkpoint=str(folder / "model"),
        data_path=str(folder / "data.json"),
        output_dir=str(folder / "out"),
        data_train_split_ratio=1.0,
        per_device_train_batch_size=batch_size,
        num_train_epochs=1000,
        lang_decoder_update=trains_language,
        cache_image_features=cache,
    )
    encoder = build_encoder(config, config.from_checkpoint)
    data = load_data(config, encoder, min_responses=1, max_responses=1, imitates=True)
    policy = build_policy(config, config.from_checkpoint, encoder.family).to(dist.device())
    keep_features(config, policy, data)
    optimizer = trained(policy)
    batches = step_batches(data, packing=False, num_workers=0)

    def step() -> None:
        (batch,) = next(batches)
        move(-policy(batch).mean(), optimizer)

    return step


def measure(way: Callable[[], None]) -> tuple[float, float]:
    """Seconds of a step, and of all processors in it."""
    busy = time.process_time()
    return seconds(way), time.process_time() - busy


@dataclass(frozen=True)
class BenchConfig:
    rounds: int = flag(15, "Steps of each way.")
    batch_size: int = flag(2, "Records of a step.")


def main(config: BenchConfig) -> None:
    dist.init_distributed(seed=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model")
        write_records(folder)
        for trained_parts, language in (("projector and language model", True), ("projector alone", False)):
            caches = ("", str(folder / "cache"))
            ways = [training_step(folder, config.batch_size, language, cache) for cache in caches]
            for way in ways:
                way()  # warm-up
            rounds = [[measure(way) for way in ways] for _ in range(config.rounds)]
            print(f"{trained_parts}, batch of {config.batch_size}:")
            for place, what in enumerate(("", " of processors")):
                pairs = [(pixels[place], kept[place]) for pixels, kept in rounds]
                pixels, kept = (statistics.median(column) for column in zip(*pairs, strict=True))
                ratio = statistics.median(one / other for one, other in pairs)
                print(
                    f"  {pixels:.3f} s{what} from pixels, {kept:.3f} s from kept features: {ratio:.2f} times as fast",
                    flush=True,
                )
        stored = sum(file.stat().st_size for file in (folder / "cache").rglob("*.safetensors"))
        print(f"on disk: {stored / NUM_RECORDS / 2**10:,.0f} KiB a picture")


if __name__ == "__main__":
    run_command(main, BenchConfig)
