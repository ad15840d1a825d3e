"""Scores of a reward model for the answers of a file, and how often it orders ranked answers rightly.

    deepspeed --module training.reward_model.score --from_checkpoint models/reward_model \\
        --data_path data/samples/reward.json --output_path models/reward_model/scores.jsonl

With `--health_path FOLDER` it scores them with others' pictures and with blank ones too, and writes what the accuracy
is made of: report.md, report.json, calibration.png.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from training.reward_model.health import accuracy, as_text, draw_calibration, health_report, pairs_of
from training.rewards.weighted import captions_for
from training.utils.config.stage_config import RewardScoreConfig
from training.utils.data.encode import Encoder
from training.utils.data.images import open_image
from training.utils.data.legacy_lines import json_file, legacy_file, named_within, write_lines
from training.utils.data.loader import eval_batches
from training.utils.data.record import Record
from training.utils.data.records import Records, have_images
from training.utils.loop.image_effect import with_others_images
from training.utils.loop.prepare import build_encoder, load_ranked
from training.utils.model.build_model import build_value_model
from training.utils.model.value_head import ValueModel
from training.utils.process import dist
from training.utils.process.cli import run_stage


def main(config: RewardScoreConfig) -> None:
    encoder = build_encoder(config, config.from_checkpoint)
    records = load_ranked(
        config, encoder, min_responses=1, captions=captions_for(config.from_checkpoint, config.captions)
    )
    reward_model = build_value_model(
        config, config.from_checkpoint, encoder.family, trainable=False, needs_head=True
    ).to(dist.device())
    views = {"true": records}
    if config.health_path and have_images(records):
        views |= {"shuffled": with_others_images(records), "blank": with_blank_images(records)}
    scores = {
        name: score(reward_model, encoder, view, config.batch_size, desc=f"{name} pictures")
        for name, view in views.items()
    }
    if not dist.is_main():
        return
    output = json_file(config.output_path, config.legacy_output)
    output.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {"id": record.id, "scores": given} for record, given in zip(records, scores["true"], strict=True)
    ]
    output.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if config.legacy_output:
        write_lines(file := legacy_file(output), legacy_rows(encoder, records, scores["true"]))
        print(f"wrote {file}", flush=True)
    pairs = {name: pairs_of(records, given) for name, given in scores.items()}
    if pairs["true"]:
        print(f"pair accuracy {accuracy(pairs['true']):.1f} % of {len(pairs['true'])} pairs", flush=True)
    if config.health_path:
        folder, report = Path(config.health_path), health_report(pairs)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
        (folder / "report.md").write_text(as_text(report))
        draw_calibration(report, folder / "calibration.png")
        print(as_text(report), flush=True)


@torch.no_grad()
def score(
    reward_model: ValueModel, encoder: Encoder, records: Sequence[Record], batch_size: int, desc: str
) -> list[list[float]]:
    """Scores of the responses of each record, in the order of the records; on the main process those of all."""
    mine = []
    batches = eval_batches(records, encoder, batch_size)
    for batch, counts in tqdm(batches, unit="batch", desc=desc, disable=not dist.is_main()):
        if counts:
            scores = reward_model(batch, batch.last_token)
            mine += [scores[batch.prompt_of_response == number].tolist() for number in range(len(batch.ids))]
    shares = dist.gather_objects(mine)
    return [shares[number % len(shares)][number // len(shares)] for number in range(len(records))]


def legacy_rows(
    encoder: Encoder, records: Records, scores: Sequence[Sequence[float]]
) -> Iterator[tuple[object, ...]]:
    """A line for each answer, as rm_eval.py of Vision-LLM-Alignment wrote it: id, image, prompt and answer, score."""
    folders = records.folders
    for record, given in zip(records, scores, strict=True):
        image = ",".join(named_within(image, folders) for image in record.images if isinstance(image, Path))
        for text, score in zip(record.responses, given, strict=True):
            yield record.id, image or None, encoder.written(record, text), score


def with_blank_images(records: Sequence[Record]) -> list[Record]:
    """The records with a grey picture of the same size in place of each."""

    def blank(image: Path | Image.Image) -> Image.Image:
        return Image.new("RGB", open_image(image).size, (128, 128, 128))

    return [replace(record, images=tuple(map(blank, record.images))) for record in records]


if __name__ == "__main__":
    run_stage(main, RewardScoreConfig)
