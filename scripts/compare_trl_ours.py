"""This project's side of `compare_trl.py`: a tiny LLaVA, records, and training on them by the stages' own code."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from data.demo_model import TinyConfig, build_tiny_llava
from training.dpo import train_dpo
from training.ppo.experience import assign_credit, observe
from training.ppo.update import minibatches, update
from training.sft import train_sft
from training.utils import jsonl
from training.utils.checkpoint import resolve_checkpoint
from training.utils.config import TrainConfig
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.record import Record
from training.utils.data.tree import Tree
from training.utils.engine import Engine, inference_engine
from training.utils.model.build_model import build_policy
from training.utils.prepare import build_encoder, load_data
from training.utils.rl import RunningMoments
from training.utils.stage_config import DPOConfig, PPOConfig, SFTConfig
from training.utils.tally import Tally

SAMPLES = Path("data/samples")
NUM_SAMPLES = 4  # responses to a prompt in GRPO and RLOO
# What the model reads as one row: token ids, and how many of them, the last ones, it learns from.
Row = tuple[tuple[int, ...], int]


class Outcome(NamedTuple):
    """What training did."""

    losses: list[float]  # of each optimizer step
    rows: list[Row]  # that were learned from, in order
    weights: dict[str, Tensor]  # at the end


def write_model(folder: Path) -> None:
    """A LLaVA of 2 layers, with 16 tokens for an image."""
    sizes = {"picture_px": 32, "patch_px": 8, "vision_size": 32, "vision_layers": 2, "hidden_size": 48}
    build_tiny_llava(TinyConfig(str(folder), str(SAMPLES), **sizes, num_layers=2, vocab_size=400))


def write_records(folder: Path, number: int) -> None:
    """Files in LLaVA's format, whose words are drawn from the samples; no two answers need be equally long."""
    entries = json.loads((SAMPLES / "sft.json").read_text())
    words = sorted({word for entry in entries for word in entry["conversations"][1]["value"].split()})
    images = sorted((SAMPLES / "images").glob("*.png"))
    for name, num_answers, has_image in (
        ("single", 1, True),
        ("labelled", 1, True),
        ("ranked", 2, True),
        ("text", 2, False),
        ("sampled", NUM_SAMPLES, True),
    ):
        rng = random.Random(name)
        records = []
        for i in range(number):
            question = " ".join(rng.choices(words, k=rng.randint(4, 9)))
            answers = [" ".join(rng.choices(words, k=rng.randint(8, 16))) for _ in range(num_answers)]
            turns = [
                {"from": "human", "value": "<image>\n" * has_image + question},
                {"from": "gpt", "value": answers if num_answers > 1 else answers[0]},
            ]
            image = {"image": str(images[i % len(images)].relative_to(SAMPLES))} if has_image else {}
            label = {"label": rng.random() < 0.5} if name == "labelled" else {}
            records.append({"id": str(i), "conversations": turns, **image, **label})
        (folder / f"{name}.json").write_text(json.dumps(records))


class MicroBatches:
    """The records of each micro-batch of a run, in its order, and as trees."""

    def __init__(self, config: TrainConfig, response_len: int = 0) -> None:
        """
        Args:
            response_len: tokens that responses are cut to, the end of turn included; 0: as long as they are.
        """
        self.encoder: Encoder = build_encoder(config, config.from_checkpoint)
        data = load_data(config, self.encoder, min_responses=1)
        self.response_len = response_len
        self.records: list[list[Record]] = [[data.train[i] for i in numbers] for numbers in data.sampler]
        self.trees: list[list[Tree]] = [self._encoded(records) for records in self.records]

    def _encoded(self, records: Sequence[Record]) -> list[Tree]:
        trees = []
        for tree in self.encoder.encode_all(records):
            responses = [response.ids for response in tree.responses]
            if self.response_len:
                responses = [[*ids[: self.response_len - 1], ids[-1]] for ids in responses]
            trees.append(tree.with_responses(responses, self.encoder.stop_ids))
        return trees


def rows_of(trees: Sequence[Tree]) -> list[Row]:
    return [
        (tuple(tree.prompt_ids + response.ids), len(response.ids))
        for tree in trees
        for response in tree.responses
    ]


def score(response_ids: Sequence[int]) -> float:
    """A reward that two sides agree on: it depends on the token ids alone."""
    return sum(response_ids) % 11 / 4


def train(config: TrainConfig, response_len: int = 0) -> Outcome:
    if isinstance(config, PPOConfig):
        return _train_on_rollouts(config, response_len)
    {SFTConfig: train_sft, DPOConfig: train_dpo}[type(config)].main(config)
    output = Path(config.output_dir)
    losses = [line["loss"] for line in jsonl.read(output / "log.jsonl")]
    rows = [row for trees in MicroBatches(config).trees for row in rows_of(trees)]
    return Outcome(losses, rows, load_file(resolve_checkpoint(output) / "model.safetensors"))


def _train_on_rollouts(config: PPOConfig, response_len: int) -> Outcome:
    """The steps of `train_ppo.py` on given responses, which `score` stands in for a reward model of."""
    rollouts = MicroBatches(config, response_len)
    encoder = rollouts.encoder
    for_actor, checkpoint = config.for_actor, config.from_checkpoint
    actor = Engine(
        build_policy(for_actor, checkpoint, encoder.family), for_actor, total_steps=config.max_steps
    )
    reference = build_policy(for_actor, checkpoint, encoder.family, trainable=False)
    reference = inference_engine(reference, for_actor)
    collate = Collator(encoder, has_images=True)
    losses, rows = [], []
    for step, trees in enumerate(rollouts.trees):
        scores = torch.tensor([score(response.ids) for tree in trees for response in tree.responses])
        experience = observe(
            collate(trees), actor, None, reference, lambda batch, last_token, scores=scores: scores, config
        )
        assign_credit([experience], RunningMoments(), config.kl_coef, config)
        for minibatch in minibatches([experience], config, step):
            tally = Tally()
            update(minibatch, actor, None, tally, config, config.kl_coef)
            losses.append(tally.means()["policy_loss"])
            rows += rows_of(trees)
    weights = {name: tensor.clone() for name, tensor in actor.module.model.state_dict().items()}
    return Outcome(losses, rows, weights)
