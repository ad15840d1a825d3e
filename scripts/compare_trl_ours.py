"""This project's side of `compare_trl.py`: a tiny LLaVA, records, and training on them by the stages' own code."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch
from zlib import crc32

from torch import Tensor

from demo.model import TinyConfig, build_tiny_llava
from training.distill import train_distill
from training.dpo import train_dpo, train_online
from training.ppo.experience import assign_credit, observe
from training.ppo.models import build_models
from training.ppo.update import minibatches, update
from training.rewards.reward import WeightedRewards
from training.rewards.sampler import Sampled, Sampler
from training.sft import train_sft
from training.utils.config.distill_config import DistillConfig
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, SFTConfig
from training.utils.config.train_config import TrainConfig
from training.utils.data.loader import Data
from training.utils.data.record import Record
from training.utils.data.tree import Tree
from training.utils.engine.engine import Engine
from training.utils.files import jsonl
from training.utils.files.model_folder import resolve_checkpoint
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.loop.tally import Tally
from training.utils.losses.policy import RunningMoments
from training.utils.model.llava import Llava

STAGES = {
    SFTConfig: train_sft.main,
    DPOConfig: train_dpo.main,
    OnlineDPOConfig: train_online.main,
    DistillConfig: train_distill.main,
}
SAMPLES = Path("data/samples")
TEACHER, TEACHER_SIZE = "teacher", 64  # the folder of a wider model beside the one that is trained
NUM_SAMPLES = 4  # responses to a prompt in GRPO and RLOO
# What the model reads as one row: token ids, and how many of them, the last ones, it learns from.
Row = tuple[tuple[int, ...], int]


class Outcome(NamedTuple):
    """What training did."""

    losses: list[float]  # of each optimizer step
    rows: list[Row]  # that were learned from, in order
    weights: dict[str, Tensor]  # at the end


def write_model(folder: Path, hidden_size: int = 48) -> None:
    """A LLaVA of 2 layers, with 16 tokens for an image."""
    sizes = {
        "picture_px": 32,
        "patch_px": 8,
        "vision_size": 32,
        "vision_layers": 2,
        "hidden_size": hidden_size,
    }
    build_tiny_llava(TinyConfig(str(folder), str(SAMPLES), **sizes, num_layers=2, vocab_size=400))


def write_records(folder: Path, number: int) -> None:
    """Files in LLaVA's format, whose words are drawn from the samples; answers are of different lengths."""
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

    def __init__(self, config: TrainConfig) -> None:
        encoder = build_encoder(config, config.from_checkpoint)
        self.data = load_data(config, encoder, min_responses=1)
        train = self.data.train
        self.records: list[list[Record]] = [[train[i] for i in numbers] for numbers in self.data.sampler]
        self.trees: list[list[Tree]] = [self._encoded(records) for records in self.records]

    def _encoded(self, records: Sequence[Record]) -> list[Tree]:
        trees = []
        encoder = self.data.encoder
        for tree in encoder.encode_all(records):
            responses = [response.ids for response in tree.responses]
            trees.append(tree.with_responses(responses, encoder.stop_ids))
        return trees


def rows_of(trees: Sequence[Tree]) -> list[Row]:
    return [
        (tuple(tree.prompt_ids + response.ids), len(response.ids))
        for tree in trees
        for response in tree.responses
    ]


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Those of a model, by the names of its modules."""
    return Llava().load_model(str(folder)).state_dict()


def reward(record: Record | None, responses: Sequence[str]) -> list[float]:
    """A reward that both sides can ask for: it depends on the words alone."""
    return [len(text.strip()) % 11 / 4 for text in responses]


def num_spaces(record: Record | None, responses: Sequence[str]) -> list[float]:
    """Another, of another size."""
    return [float(text.strip().count(" ")) for text in responses]


def checksum(record: Record | None, responses: Sequence[str]) -> list[float]:
    """One that no two texts have alike."""
    return [crc32(text.strip().encode()) / 2**28 for text in responses]


class GivenAnswers(Sampler):
    """Scores the answers of the records instead of sampling."""

    def __init__(self, actor: Engine, rewards: WeightedRewards, config: OnlineDPOConfig, data: Data) -> None:
        super().__init__(actor, rewards, config, data)
        self.given = MicroBatches(config).trees

    def sample(self, prompts: Sequence[Sequence[Tree]], step: int) -> list[Sampled]:
        first = (step - 1) * len(prompts)
        return [self.score(trees) for trees in self.given[first : first + len(prompts)]]


def train(config: TrainConfig) -> Outcome:
    if isinstance(config, PPOConfig):
        return _train_on_rollouts(config)
    main = STAGES[type(config)]
    with patch.object(train_online, "Sampler", GivenAnswers):
        main(config)
    output = Path(config.output_dir)
    losses = [line["loss"] for line in jsonl.read(output / "log.jsonl") if "epoch" in line]  # no evaluations
    rows = [row for trees in MicroBatches(config).trees for row in rows_of(trees)]
    return Outcome(losses, rows, read_weights(resolve_checkpoint(output)))


def _train_on_rollouts(config: PPOConfig) -> Outcome:
    """The steps of `train_ppo.py` on the responses of the records."""
    micro_batches = MicroBatches(config)
    data = micro_batches.data
    models = build_models(config, data.encoder, data)
    sampler = Sampler(models.actor, models.rewards, config, data)
    losses, rows = [], []
    for step, trees in enumerate(micro_batches.trees):
        experiences = observe([sampler.score(trees)], models, config)
        assign_credit(experiences, RunningMoments(), config.kl_coef, config)
        for minibatch in minibatches(experiences, config, step):
            tally = Tally()
            update([minibatch], models, tally, config, config.kl_coef)
            losses.append(tally.means()["policy_loss"])
            rows += rows_of(trees)
    policy = models.actor.module.model
    return Outcome(losses, rows, {name: tensor.clone() for name, tensor in policy.state_dict().items()})
