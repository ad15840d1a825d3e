"""Scores of a reward model for the answers of a file, and how often it orders ranked answers rightly.

    deepspeed --module training.reward_model.score --from_checkpoint models/reward_model \\
        --data_path data/samples/reward.json --output_path models/reward_model/scores.jsonl
"""

import json
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from training.utils import dist
from training.utils.cli import run_stage
from training.utils.data.loader import eval_batches
from training.utils.data.record import DataError, Record
from training.utils.losses import pair_accuracy
from training.utils.model.build_model import build_value_model
from training.utils.prepare import build_encoder, load_checked
from training.utils.stage_config import RewardScoreConfig


def main(config: RewardScoreConfig) -> None:
    encoder = build_encoder(config, config.from_checkpoint)
    records = load_checked(config.data_path, config, encoder, min_responses=1)
    if config.shuffle_images:
        records = with_others_images(records)
    reward_model = build_value_model(
        config, config.from_checkpoint, encoder.family, trainable=False, needs_head=True
    ).to(dist.device())

    lines = []
    batches = eval_batches(records, encoder, config.batch_size)
    with torch.no_grad():
        for batch, counts in tqdm(batches, unit="batch", disable=not dist.is_main()):
            if counts:
                scores = reward_model(batch, batch.last_token)
                for number, name in enumerate(batch.ids):
                    lines.append({"id": name, "scores": scores[batch.prompt_of_response == number].tolist()})
    lines = [line for share in dist.gather_objects(lines) for line in share]
    if dist.is_main():
        order = {record.id: number for number, record in enumerate(records)}
        lines.sort(key=lambda line: order[line["id"]])
        output = Path(config.output_path)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("".join(json.dumps(line) + "\n" for line in lines))
        right, pairs = accuracy(lines)
        if pairs:
            print(f"pair accuracy {100 * right / pairs:.1f} % of {pairs} pairs", flush=True)


def accuracy(lines: list[dict]) -> tuple[float, int]:
    """Pairs that the scores order rightly, a tie as half, and the number of pairs."""
    results = [
        pair_accuracy(torch.tensor(s), torch.zeros(len(s))) for s in (line["scores"] for line in lines)
    ]
    return sum(float(right) for right, _ in results), sum(pairs for _, pairs in results)


def with_others_images(records: list[Record]) -> list[Record]:
    """The records, each with the images of another: what is left of the accuracy does not come from pictures.

    Raises:
        DataError: the records hold different numbers of images, so they can't be exchanged.
    """
    if len({len(record.images) for record in records}) > 1:
        raise DataError("--shuffle_images: the records hold different numbers of images; expected the same")
    half = len(records) // 2  # far enough that records of one picture do not just exchange it
    return [
        replace(record, images=records[(number + half) % len(records)].images)
        for number, record in enumerate(records)
    ]


if __name__ == "__main__":
    run_stage(main, RewardScoreConfig)
