"""Answers of a model to the prompts of a file, as JSON Lines.

Each line holds id, image, prompt, response, responses (all samples), label, and with a reward model the scores
of the samples; then `response` is the best of them (best-of-n). A run that was stopped goes on where it was.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from training.utils import dist
from training.utils.arguments import save_args
from training.utils.cli import run_stage
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.record import DataError, Record
from training.utils.data.tree import Tree
from training.utils.model.build_model import build_policy, build_value_model, require_reward_model
from training.utils.model.generate import generate
from training.utils.model.policy import Policy
from training.utils.model.tower import share_towers
from training.utils.model.value_head import ValueModel
from training.utils.prepare import build_encoder, build_sampling, load_checked
from training.utils.stage_config import PredictConfig

logger = logging.getLogger(__name__)


def main(config: PredictConfig) -> None:
    if config.reward_model_ckpt_path:
        require_reward_model(config.reward_model_ckpt_path)
    encoder = build_encoder(config, config.from_checkpoint)
    records = load_checked(config.data_path, config, encoder, min_responses=0)
    output = Path(config.output_path)
    lines = Lines(output)
    todo = [number for number in range(len(records)) if number not in lines.done]
    if dist.is_main():
        save_args(config, output.parent, f"{output.stem}.args.json")
        print(f"{len(records)} prompts, {len(lines.done)} answered before", flush=True)

    policy = build_policy(config, config.from_checkpoint, encoder.family, trainable=False).to(dist.device())
    reward_model = None
    if config.reward_model_ckpt_path:
        reward_model = build_value_model(
            config, config.reward_model_ckpt_path, encoder.family, trainable=False, needs_head=True
        ).to(dist.device())
        share_towers(policy, reward_model)

    started, num_tokens = time.monotonic(), 0
    mine = todo[dist.rank() :: dist.world_size()]
    collate = Collator(encoder, has_images=False)
    for numbers in tqdm(list(_chunks(mine, config.batch_size)), unit="batch", disable=not dist.is_main()):
        prompts = [encoder.encode(records[number]) for number in numbers]
        generator = torch.Generator(dist.device()).manual_seed(hash((config.seed, numbers[0])))
        responses = answer(policy, encoder, prompts, config, generator)
        scores = (
            score(reward_model, collate, prompts, responses, encoder)
            if reward_model
            else [None] * len(prompts)
        )
        num_tokens += sum(len(ids) for texts in responses for ids in texts)
        for number, texts, values in zip(numbers, responses, scores, strict=True):
            lines.write(number, prediction(records[number], [encoder.decode(ids) for ids in texts], values))
    num_tokens = int(dist.sum_over_ranks(num_tokens))  # every process has written its lines by now
    seconds = time.monotonic() - started
    if dist.is_main():
        if num_tokens:  # none where all was answered before
            print(
                f"{num_tokens:,} tokens in {seconds:.1f} s, {num_tokens / seconds:,.0f} tokens/s", flush=True
            )
        lines.merge(len(records))
        if config.legacy_output:
            write_legacy(output)
        print(f"wrote {output}", flush=True)


def answer(
    policy: Policy,
    encoder: Encoder,
    prompts: Sequence[Tree],
    config: PredictConfig,
    generator: torch.Generator,
) -> list[list[list[int]]]:
    """Token ids of `num_return_sequences` responses for each prompt."""
    sampling = build_sampling(config, encoder, config.max_new_tokens)
    return generate(
        policy, prompts, sampling, config.num_return_sequences, generator, encoder.tokenizer.pad_token_id
    )


@torch.no_grad()
def score(
    reward_model: ValueModel,
    collate: Collator,
    prompts: Sequence[Tree],
    responses: Sequence[Sequence[list[int]]],
    encoder: Encoder,
) -> list[list[float]]:
    """The reward model's score of each response."""
    trees = [
        prompt.with_responses(ids, encoder.stop_ids) for prompt, ids in zip(prompts, responses, strict=True)
    ]
    batch = collate(trees).to(dist.device())
    scores = iter(reward_model(batch, batch.last_token).tolist())
    return [[next(scores) for _ in tree.responses] for tree in trees]


def prediction(record: Record, responses: list[str], scores: list[float] | None) -> dict:
    best = max(range(len(responses)), key=scores.__getitem__) if scores else 0
    line = {
        "id": record.id,
        "image": [str(image) for image in record.images],
        "prompt": record.turns[-1].text,
        "response": responses[best],
        "responses": responses,
    }
    if scores:
        line["scores"] = scores
    label = record.label or (record.responses[0] if record.responses else None)
    return line | ({"label": label} if label is not None else {})


class Lines:
    """Predictions as they come, one file for each process, merged in the order of the prompts at the end."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.done: set[int] = set()
        output.parent.mkdir(parents=True, exist_ok=True)
        for number, _ in self._written():
            self.done.add(number)
        dist.barrier()
        self._file = self._part(dist.rank()).open("a")

    def _part(self, rank: int | str) -> Path:
        return self.output.with_name(f".{self.output.name}.part-{rank}")

    def _written(self) -> Iterator[tuple[int, dict]]:
        if self.output.is_file():
            for number, line in enumerate(self.output.read_text().splitlines()):
                yield number, json.loads(line)
        for part in sorted(self.output.parent.glob(self._part("*").name)):
            for text in part.read_text().splitlines(keepends=True):
                if text.endswith("\n"):  # else the process was killed in the middle of it
                    yield (line := json.loads(text)).pop("number"), line

    def write(self, number: int, line: dict) -> None:
        self._file.write(json.dumps({"number": number} | line) + "\n")
        self._file.flush()

    def merge(self, total: int) -> None:
        """Writes the whole file in one go, and removes the parts."""
        lines = dict(self._written())
        missing = [number for number in range(total) if number not in lines]
        if missing:
            raise DataError(f"{self.output}: {len(missing)} of {total} predictions are missing; run again")
        temporary = self.output.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(lines[number]) + "\n" for number in range(total)))
        temporary.replace(self.output)
        for part in self.output.parent.glob(self._part("*").name):
            part.unlink()


def write_legacy(output: Path) -> None:
    """The same predictions as ` ||| ` lines: id, image, prompt, response, label."""
    with output.with_suffix(".res").open("w") as file:
        for text in output.read_text().splitlines():
            line = json.loads(text)
            parts = [line["id"], ",".join(line["image"]), line["prompt"], line["response"], line.get("label")]
            file.write(" ||| ".join(str(part).replace("\n", "\\n") for part in parts) + "\n")


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


if __name__ == "__main__":
    run_stage(main, PredictConfig)
