"""Preference data that act on a reward model as the target's data do: the selection of RoVRM (arXiv 2408.12109).

    python -m training.reward_model.select_data --from_checkpoint models/warmed_up --candidates text.json \\
        --target pairs.json --num_keep 20000 --output_path kept.json

The reward model is warmed up by run_rm_training.sh with --lang_lora_dim on some records of both files. Then every
record gets a feature, the gradient of its ranking loss through a random projection (LESS, arXiv 2402.04333), and the
candidates with the lowest transport cost to the target are kept (`transport.py`).

A checkpoint holds the adapters merged into the weights, so fresh ones are added here. Their B is 0, and so is the
gradient of A; that of B is the gradient of the whole weight seen through the random A, (dL/dW) A^T.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.reward_model.transport import pairwise_costs, project, set_costs
from training.utils.config.flags import flag, require
from training.utils.config.model_config import ModelConfig
from training.utils.data.check import load_records
from training.utils.data.encode import Encoder
from training.utils.data.loader import eval_batches
from training.utils.data.reader import Reader
from training.utils.data.record import DataError, Record
from training.utils.data.records import Records
from training.utils.data.subset import write_subset
from training.utils.data.tree import Batch
from training.utils.loop.prepare import build_encoder
from training.utils.losses.responses import plackett_luce_loss, ranks
from training.utils.model.build_model import build_value_model
from training.utils.model.lora import add_lora
from training.utils.model.value_head import ValueModel
from training.utils.process import dist
from training.utils.process.cli import run_stage


@dataclass(frozen=True)
class SelectConfig(ModelConfig):
    """Selection of preference data."""

    candidates: str = flag("", "File of ranked answers to choose from.")
    target: str = flag("", "File of ranked answers that they should serve.")
    image_folder: str | None = flag(
        None, "Folder that image paths start from; none: the folder of each file."
    )
    target_samples: int = flag(5000, "Records of the target to compare with, drawn at random.")
    num_keep: int = flag(0, "Candidates to keep.")
    output_path: str = flag(
        "", "File to write the kept records into; costs go to OUTPUT_PATH.costs.jsonl.", writes="file"
    )
    lang_lora_dim: int = flag(
        8, "Rank of the adapters that gradients are taken of; 0: of the value head's weights."
    )
    lang_lora_module_name: str = flag(
        "layers.", "Linear layers of the language model that get adapters.", needs={"lang_lora_dim": ()}
    )
    projection_dim: int = flag(4096, "Numbers that a gradient is projected to.")
    gradients_at_a_time: int = flag(32, "Gradients in memory before they are projected together.")
    unit_gradients: bool = flag(False, "Compare directions: scale each projected gradient to length 1.")
    transport: str = flag("set", "Transport cost, see transport.py: `pairwise` or `set`.")
    regularisation: float = flag(
        0.0,
        "With --transport set: Sinkhorn, by this share of the mean distance; 0: exact.",
        needs={"transport": ("set",)},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("candidates", "target", "output_path"):
            require(bool(getattr(self, name)), f"--{name}: missing; expected a file")
        for name in ("num_keep", "target_samples", "projection_dim", "gradients_at_a_time"):
            require(getattr(self, name) >= 1, f"--{name} {getattr(self, name)}: expected 1 or more")
        require(
            self.transport in ("pairwise", "set"),
            f"--transport {self.transport}: unknown; expected pairwise or set",
        )
        require(
            self.transport == "set" or not self.unit_gradients,
            "--unit_gradients: needs --transport set; pairwise costs compare little but lengths",
        )


def main(config: SelectConfig) -> None:
    encoder = build_encoder(config, config.from_checkpoint)
    candidates = load_ranked(config.candidates, None, config, encoder)
    targets = load_ranked(config.target, config.target_samples, config, encoder)
    if config.num_keep > len(candidates):
        raise DataError(
            f"--num_keep {config.num_keep}: {config.candidates} holds {len(candidates)} records; expected fewer"
        )
    reward_model = build_value_model(
        config, config.from_checkpoint, encoder.family, trainable=False, needs_head=True
    ).to(dist.device())
    if aspects := reward_model.v_head.aspects:
        raise DataError(
            f"{config.from_checkpoint}: its head has the aspects {' '.join(aspects)}; expected one output"
        )
    parameters = with_gradients(reward_model, config.lang_lora_dim, config.lang_lora_module_name)
    features = [
        gradient_features(reward_model, parameters, records, encoder, config)
        for records in (candidates, targets)
    ]
    if dist.is_main():
        if config.transport == "pairwise":
            costs = pairwise_costs(*features)
        else:
            costs = set_costs(*features, config.regularisation)
        write(config, candidates, costs)


def load_ranked(path: str, samples: int | None, config: SelectConfig, encoder: Encoder) -> Records:
    reader = Reader(min_responses=2, image_folder=config.image_folder or None)
    return load_records(path, reader, encoder, samples=samples, seed=config.seed)


def with_gradients(model: ValueModel, lora_dim: int, lora_module_name: str) -> list[nn.Parameter]:
    """The parameters of a frozen reward model that gradients are taken of: new adapters' B, or the head."""
    if lora_dim == 0:
        return [model.v_head.weight.requires_grad_()]
    language_model = model.family.language_model(model.model)
    add_lora(language_model, lora_dim, 0, lora_module_name)
    language_model.to(dist.device())
    return [parameter for name, parameter in language_model.named_parameters() if ".lora_B." in name]


def loss_gradient(model: ValueModel, parameters: Sequence[nn.Parameter], batch: Batch) -> Tensor:
    """Gradient of the ranking loss of a batch, flat, in fp32: [P]."""
    scores = model(batch, batch.last_token)
    rank = ranks(batch.prompt_of_response, batch.scores)
    loss = plackett_luce_loss(scores, batch.prompt_of_response, batch.num_prompts, rank).sum()
    return torch.cat([part.flatten().float() for part in torch.autograd.grad(loss, parameters)])


def gradient_features(
    model: ValueModel,
    parameters: Sequence[nn.Parameter],
    records: Sequence[Record],
    encoder: Encoder,
    config: SelectConfig,
) -> Tensor:
    """The projected gradient of each record alone, shared out among the processes: [N, K]."""
    waiting, features = [], []

    def project_waiting() -> None:
        gradients = torch.stack(waiting)
        features.append(project(gradients, config.projection_dim, config.seed).cpu())
        waiting.clear()

    batches = eval_batches(records, encoder, batch_size=1)
    for batch, counts in tqdm(batches, total=len(records), unit="record", disable=not dist.is_main()):
        if counts:
            waiting.append(loss_gradient(model, parameters, batch))
        if len(waiting) == config.gradients_at_a_time:
            project_waiting()
    if waiting:
        project_waiting()
    gathered = torch.empty(len(records), config.projection_dim)
    for rank, share in enumerate(dist.gather_objects(torch.cat(features) if features else None)):
        if share is not None:
            gathered[rank :: dist.world_size()] = share
    return nn.functional.normalize(gathered) if config.unit_gradients else gathered


def write(config: SelectConfig, candidates: Sequence[Record], costs: Tensor) -> None:
    """The kept records in the order of their file, and the cost of every candidate, lowest first."""
    order = costs.argsort(stable=True).tolist()
    output = Path(config.output_path)
    write_subset(Path(config.candidates), sorted(order[: config.num_keep]), output)
    lines = [
        {"id": candidates[place].id, "cost": float(costs[place]), "kept": rank < config.num_keep}
        for rank, place in enumerate(order)
    ]
    Path(f"{output}.costs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{output}: kept {config.num_keep} of {len(candidates)} records", flush=True)


if __name__ == "__main__":
    run_stage(main, SelectConfig)
