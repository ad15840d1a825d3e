"""TRL's side: its trainers on the same records, in the same order, with a frozen tower."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, Image, List
from transformers import AutoModelForImageTextToText, AutoProcessor, PrinterCallback, TrainerCallback

from scripts.bench_trl.setting import STEPS, Case, flags_of, settings_of
from scripts.bench_trl.steps import Steps
from scripts.compare_trl_theirs import SAMPLING, TRAINERS, example, scaled_reward
from training.utils.data.record import Record
from training.utils.loop.prepare import build_encoder, load_data


class Marks(TrainerCallback):
    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def on_step_end(self, *_, **__) -> None:
        self.steps.mark()


def records_of(case: Case, model: Path, folder: Path) -> list[Record]:
    """In the order that this project trains on them."""
    config = flags_of(case, model, folder)
    data = load_data(config, build_encoder(config, config.from_checkpoint), min_responses=1)
    return [data.train[number] for numbers in data.sampler for number in numbers][: len(data.train)]


def row(case: Case, record: Record, processor: Any) -> dict[str, Any]:
    """A record for the trainer, with paths of its pictures, which it opens when it wants them."""
    (path,) = record.images
    return example(case.trainer, record, processor) | {"images": [str(path)]}


def train(case: Case, model: Path) -> Steps:
    trainer_class, config_class = TRAINERS[case.trainer]
    processor = AutoProcessor.from_pretrained(model)
    policy = AutoModelForImageTextToText.from_pretrained(model, dtype="float32")
    policy.model.vision_tower.requires_grad_(False)
    steps = Steps()
    with TemporaryDirectory() as folder:
        rows = [row(case, record, processor) for record in records_of(case, model, Path(folder))]
        trainer = trainer_class(
            model=policy,
            args=config_class(**settings_of(case, Path(folder))),
            train_dataset=Dataset.from_list(rows).cast_column("images", List(Image())),
            processing_class=processor,
            callbacks=[Marks(steps)],
            **({"reward_funcs": [scaled_reward("reward", 1.0)]} if case.trainer in SAMPLING else {}),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    steps.losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return steps.of_last_epoch(STEPS)
