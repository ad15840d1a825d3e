"""What both sides train on, and how each is asked for it."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from demo.model import TinyConfig, build_tokenizer, special_ids, write_llava
from scripts.bench_model import Size
from scripts.compare_trl_case import SHARED, THEIRS
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig
from training.utils.config.train_config import TrainConfig

from transformers import PreTrainedTokenizerFast  # isort: skip

SAMPLES = Path("data/samples")
PROMPTS, STEPS = 2, 4  # prompts of an optimizer step, steps of an epoch
PROMPT_WORDS, ANSWER_WORDS = 40, 119
NUM_SAMPLES = 8  # of a prompt in GRPO
KL_COEF = 0.04


SIZES = {"small": Size(), "tiny": Size(32, 1, 2, 28, 1024)}


@dataclass(frozen=True)
class Case:
    """A step of a stage, and the same step taken otherwise."""

    name: str
    stage: type[TrainConfig]
    records: str  # file of its records
    flags: dict[str, Any]
    trainer: str = ""  # of TRL; else the other side is this project with a row for each answer
    theirs: dict[str, Any] = field(default_factory=dict)
    epochs: int = 1
    caches: tuple[str, ...] = ()  # flags that name a folder
    theirs_of: str = ""  # the case whose steps TRL takes in place of these
    aim: float = 0.0


DPO_FLAGS = {"loss_type": ["sigmoid"], "beta": 0.1}
DPO_THEIRS = {"loss_type": ["sigmoid"], "beta": 0.1, "max_length": None}
CACHES = ("reference_cache", "cache_image_features")
CASES = {
    "dpo": Case("DPO, 2 answers", DPOConfig, "ranked2", DPO_FLAGS, "DPO", DPO_THEIRS, aim=7),
    "dpo_cached": Case(
        f"DPO, second epoch with {' and '.join(f'`--{name}`' for name in CACHES)}",
        DPOConfig,
        "ranked2",
        DPO_FLAGS,
        "DPO",
        epochs=2,
        caches=CACHES,
        theirs_of="dpo",
        aim=9,
    ),
    "rm": Case("reward model, 4 answers", RewardConfig, "ranked4", {}, aim=4.5),
    "grpo": Case(
        f"GRPO, {NUM_SAMPLES} samples of {ANSWER_WORDS + 1} tokens",
        PPOConfig,
        "ranked2",
        {
            "advantage_estimator": "grpo",
            "num_generations": NUM_SAMPLES,
            "max_generation_length_of_sampling": ANSWER_WORDS + 1,
            "kl_coef": KL_COEF,
            "normalize_rewards": False,
            "reward_clip": 0.0,
            "missing_eos_penalty": 0.0,
            "actor_learning_rate": SHARED["learning_rate"],
            "reward_functions": ["scripts.compare_trl_ours:reward"],
        },
        "GRPO",
        {
            "num_generations": NUM_SAMPLES,
            "max_completion_length": ANSWER_WORDS + 1,
            "beta": KL_COEF,
            "temperature": 1.0,
            "use_bias_correction_kl": False,
            "shuffle_dataset": False,
        },
        aim=5,
    ),
}


def write_inputs(folder: Path, size: Size) -> Path:
    """A LLaVA with random weights, and files of records beside it. Each word is one token.

    Returns:
        The model's folder.
    """
    tokenizer = build_tokenizer(TinyConfig(output="", texts=str(SAMPLES)))
    torch.manual_seed(0)
    write_llava(folder / "model", size.vision, size.text(**special_ids(tokenizer)), tokenizer)
    for num_answers in (2, 4):
        write_records(folder / f"ranked{num_answers}.json", num_answers, tokenizer)
    return folder / "model"


def write_records(file: Path, num_answers: int, tokenizer: PreTrainedTokenizerFast) -> None:
    entries = json.loads((SAMPLES / "sft.json").read_text())
    words = {word for entry in entries for word in entry["conversations"][1]["value"].split()}
    known = sorted(word for word in words if len(tokenizer.tokenize(f" {word}")) == 1)
    images = sorted((SAMPLES / "images").glob("*.png"))
    rng = random.Random(file.stem)

    def said(count: int) -> str:
        return " ".join(rng.choices(known, k=count))

    records = []
    for number in range(PROMPTS * STEPS):
        turns = [
            {"from": "human", "value": f"<image>\n{said(PROMPT_WORDS)}"},
            {"from": "gpt", "value": [said(ANSWER_WORDS) for _ in range(num_answers)]},
        ]
        image = str(images[number].relative_to(SAMPLES))
        records.append({"id": str(number), "image": image, "conversations": turns})
    file.write_text(json.dumps(records))


def flags_of(case: Case, model: Path, output: Path) -> TrainConfig:
    """Of this project's stage: a frozen tower, all else trained."""
    return case.stage(
        from_checkpoint=str(model),
        data_path=str(model.parent / f"{case.records}.json"),
        image_folder=str(SAMPLES),
        output_dir=str(output / "run"),
        data_train_split_ratio=1.0,
        per_device_train_batch_size=PROMPTS,
        num_train_epochs=case.epochs,
        lang_decoder_update=True,
        precision="fp32",
        **SHARED | case.flags | {name: str(output / name) for name in case.caches},
    )


def settings_of(case: Case, output: Path) -> dict[str, Any]:
    """Of TRL's trainer. It counts samples where it samples."""
    rows = NUM_SAMPLES if case.stage is PPOConfig else 1
    return {
        "output_dir": str(output / "run"),
        "per_device_train_batch_size": PROMPTS * rows,
        "gradient_accumulation_steps": 1,
        "max_steps": STEPS,
        **THEIRS,
        **SHARED,
        **case.theirs,
    }
