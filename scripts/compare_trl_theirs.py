"""TRL's side of `compare_trl.py`: its trainers on the same records, in the same order."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
)
from trl.data_utils import apply_chat_template, prepare_multimodal_messages
from trl.experimental import cpo, online_dpo, orpo

from scripts import compare_trl_ours
from scripts.compare_trl_ours import TEACHER, MicroBatches, Outcome, Row
from training.utils.data.images import open_image
from training.utils.data.record import MARKER, Record

TEXT_ONLY = ("CPO", "ORPO")
SAMPLING = ("GRPO", "RLOO", "Distillation")


class ORPOTrainer(orpo.ORPOTrainer):
    """With the cross-entropy of the response alone, as the paper has it."""

    def concatenated_forward(self, model, batch):
        chosen_logps, *others, _ = super().concatenated_forward(model, batch)
        return chosen_logps, *others, -chosen_logps.mean()


class OnlineDPOTrainer(online_dpo.OnlineDPOTrainer):
    """With what `compare_trl.py` reads: the rows of each loss, and that of each step, which the log rounds."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.rows, self.losses = [], []

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        place = self.state.global_step  # 0 in the first
        self.losses[place:] = [sum(self.losses[place:]) + float(loss)]
        return loss

    def _forward(self, model, *inputs):
        if model is not self.ref_model:
            names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
            named = zip(names, inputs, strict=False)  # what is seen in pictures may come behind them
            self.rows.extend(rows_in(dict(named)))
        return super()._forward(model, *inputs)


TRAINERS = {
    "SFT": (trl.SFTTrainer, trl.SFTConfig),
    "DPO": (trl.DPOTrainer, trl.DPOConfig),
    "KTO": (trl.KTOTrainer, trl.KTOConfig),
    "CPO": (cpo.CPOTrainer, cpo.CPOConfig),
    "ORPO": (ORPOTrainer, orpo.ORPOConfig),
    "OnlineDPO": (OnlineDPOTrainer, online_dpo.OnlineDPOConfig),
    "GRPO": (trl.GRPOTrainer, trl.GRPOConfig),
    "RLOO": (trl.RLOOTrainer, trl.RLOOConfig),
    "Distillation": (trl.DistillationTrainer, trl.DistillationConfig),
}


def train(
    name: str,
    checkpoint: Path,
    micro_batches: MicroBatches,
    settings: dict[str, Any],
    reward_scale: float = 1.0,
    rewards: Iterable[str] = (),
) -> Outcome:
    """
    Args:
        name: of the trainer.
        micro_batches: the records, and what GRPO and RLOO shall have sampled.
        reward_scale: what the rewards are multiplied by.
        rewards: functions of `compare_trl_ours.py`, by their names.
    """
    trainer_class, config_class = TRAINERS[name]
    processor = AutoProcessor.from_pretrained(checkpoint)
    more = {}
    if name in SAMPLING:
        trainer_class = with_given_responses(trainer_class, micro_batches)
        settings = {**settings, "shuffle_dataset": False}
    if name in ("GRPO", "RLOO", "OnlineDPO"):
        more["reward_funcs"] = [scaled_reward(name, reward_scale) for name in rewards]
    if name == "Distillation":
        more["teacher_model"] = AutoModelForImageTextToText.from_pretrained(
            checkpoint.parent / TEACHER, dtype="float32"
        )
    records = [record for records in micro_batches.records for record in records]
    trainer = trainer_class(
        model=AutoModelForImageTextToText.from_pretrained(checkpoint, dtype="float32"),
        args=config_class(**settings),
        train_dataset=Dataset.from_list([example(name, record, processor) for record in records]),
        processing_class=processor.tokenizer if name in TEXT_ONLY else processor,
        **more,
    )
    trainer.remove_callback(PrinterCallback)
    if name == "OnlineDPO":
        give_answers(trainer.model, micro_batches, processor.tokenizer.pad_token_id)
    rows = trainer.rows if name == "OnlineDPO" else record_rows(trainer)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Outcome(getattr(trainer, "losses", losses), rows, trainer.model.state_dict())


def example(name: str, record: Record, processor) -> dict[str, Any]:
    """A record as a row of the data set that the trainer of this name wants."""
    prompt = [{"role": "user", "content": record.turns[-1].text.replace(MARKER, "").strip()}]
    answers = [[{"role": "assistant", "content": text}] for text in record.responses]
    row: dict[str, Any] = {"prompt": prompt}
    if name in ("SFT", "KTO"):
        row["completion"] = answers[0]
    if name == "KTO":
        row["label"] = record.scores[0] > 0
    if name in ("DPO", *TEXT_ONLY):
        row["chosen"], row["rejected"] = answers
    if name in TEXT_ONLY:  # they tokenise text
        messages = {key: prepare_multimodal_messages(value) for key, value in row.items()}
        return apply_chat_template(messages, processor)
    if name == "OnlineDPO":
        return row | {"image": open_image(record.images[0])}
    return row | {"images": [open_image(image) for image in record.images]}


def with_given_responses(trainer_class: type[Trainer], micro_batches: MicroBatches) -> type[Trainer]:
    """The trainer, which takes the responses of the micro-batches instead of sampling."""
    given = (response.ids for trees in micro_batches.trees for tree in trees for response in tree.responses)

    class WithGivenResponses(trainer_class):
        def _generate_single_turn(self, prompt_ids, *_):
            ids = [next(given) for _ in prompt_ids]
            no_logps = None  # that a sampler of its own would give
            return (ids, no_logps) if trainer_class is trl.GRPOTrainer else ids

    return WithGivenResponses


def give_answers(model: PreTrainedModel, micro_batches: MicroBatches, pad_token_id: int) -> None:
    """The model generates the two answers of each prompt of a micro-batch: the first of all, then the second."""
    given = iter(micro_batches.trees)

    def generate(input_ids: torch.Tensor, **_) -> torch.Tensor:
        trees = next(given)
        ids = [torch.tensor(tree.responses[place].ids) for place in (0, 1) for tree in trees]
        return torch.cat([input_ids, pad_sequence(ids, batch_first=True, padding_value=pad_token_id)], dim=1)

    model.generate = generate


def scaled_reward(name: str, scale: float) -> Callable[..., list[float]]:
    reward = getattr(compare_trl_ours, name)

    def rewards(completions, **_) -> list[float]:
        return [scale * value for value in reward(None, [turns[0]["content"] for turns in completions])]

    return rewards


def record_rows(trainer: Trainer) -> list[Row]:
    """What the trainer's loss will be computed on, from now on."""
    rows: list[Row] = []
    compute_loss = trainer.compute_loss

    def recorded(model, inputs, *args, **kwargs):
        rows.extend(rows_in(inputs))
        return compute_loss(model, inputs, *args, **kwargs)

    trainer.compute_loss = recorded
    return rows


def rows_in(inputs: dict[str, Any]) -> list[Row]:
    """The rows of a batch as TRL's collators make it."""
    if "completion_ids" in inputs:
        ids, seen = (
            torch.cat([inputs[f"{part}_{what}"] for part in ("prompt", "completion")], dim=1)
            for what in ("ids", "mask")
        )
        learned = inputs["completion_mask"]
    elif "chosen_input_ids" in inputs:
        chosen, rejected = (
            {key.removeprefix(side): value for key, value in inputs.items() if key.startswith(side)}
            for side in ("chosen_", "rejected_")
        )
        return rows_in(chosen) + rows_in(rejected)
    else:
        ids, seen = inputs["input_ids"], inputs["attention_mask"]
        learned = inputs["completion_mask"] if "completion_mask" in inputs else inputs["labels"] != -100
    return [
        (tuple(row[mask.bool()].tolist()), int(count))
        for row, mask, count in zip(ids, seen, learned.sum(-1), strict=True)
    ]
