"""This project's losses against TRL's, step for step: 20 optimizer steps of both on the same records.

bash scripts/compare_trl.sh    about 3 minutes on a CPU; prints a table, and exits with 1 where they differ

Both train a tiny LLaVA in fp32 with the same AdamW and no clipping, each by its own code: TRL by its trainers, this
project by its stages. Only sampling is left out: GRPO and RLOO get the same responses and rewards.
"""

import logging
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from transformers import HfArgumentParser

from scripts import compare_trl_ours as ours
from training.utils import dist
from training.utils.config import TrainConfig, flag
from training.utils.stage_config import DPOConfig, PPOConfig, SFTConfig

NUM_STEPS, PROMPTS = 20, 2  # optimizer steps, prompts of each
RESPONSE_LEN = 8  # tokens, where all responses must be equally long
SHARED = {"learning_rate": 1e-3, "adam_beta1": 0.9, "adam_beta2": 0.95, "weight_decay": 0.0, "max_grad_norm": 0.0}


@dataclass(frozen=True)
class CompareConfig:
    output: str = flag("models/compare_trl", "Folder to write into.")
    only: list[str] = flag([], "Names of losses; none: all.")
    tolerance: float = flag(1e-4, "Largest difference of a loss, and of a weight, to accept.")


@dataclass(frozen=True)
class Case:
    """A loss, and how each side is asked for it."""

    name: str
    trainer: str  # of TRL
    theirs: dict[str, Any]
    stage: type[TrainConfig]
    ours: dict[str, Any]
    records: str = "ranked"
    accumulation: int = 1  # micro-batches that the prompts of a step are cut into
    updates: int = 1  # of the same responses
    response_len: int = 0
    reward_scale: float = 1.0  # of TRL's rewards
    note: str = ""


def preference(name: str, note: str = "", **more: Any) -> Case:
    """A loss that TRL's DPOTrainer has by the same name, with the same flags."""
    return Case(name, "DPO", {"loss_type": [name], **more}, DPOConfig, {"loss_type": [name], **more}, note=note)


def policy(name: str, trainer: str, theirs: dict[str, Any], kl_coef: float = 0.05, **more: Any) -> Case:
    """An estimator of advantages on given responses."""
    sampled = {"num_generations": ours.NUM_SAMPLES, "max_completion_length": 64, "temperature": 1.0}
    no_shaping = {"normalize_rewards": False, "reward_clip": 0.0, "missing_eos_penalty": 0.0}
    flags = {"advantage_estimator": name.split()[0], "num_generations": ours.NUM_SAMPLES, "kl_coef": kl_coef}
    return Case(
        name, trainer, {"beta": kl_coef} | sampled | theirs, PPOConfig, flags | no_shaping, "sampled", **more
    )


MEAN = "a micro-batch is one prompt: TRL averages over the tokens of a micro-batch, we over those of an answer"
SIMPO = {"beta": 2.0, "simpo_gamma": 0.5}
CASES = [
    Case("sft", "SFT", {}, SFTConfig, {}, "single"),
    preference("sigmoid"),
    preference("hinge"),
    preference("ipo"),
    preference("robust", label_smoothing=0.1),
    Case(
        "plackett_luce", "DPO", {"loss_type": ["sigmoid"]}, DPOConfig, {"loss_type": ["plackett_luce"]},
        note="two answers: against TRL's sigmoid",
    ),
    Case(
        "sigmoid + sft",
        "DPO",
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]},
        DPOConfig,
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]},
        accumulation=PROMPTS,
        note=MEAN,
    ),
    Case("kto", "KTO", {"desirable_weight": 1.3}, DPOConfig, {"loss_type": ["kto"], "desirable_weight": 1.3}, "labelled"),
    Case(
        "simpo",
        "CPO",
        {"loss_type": "simpo", "cpo_alpha": 0.0} | SIMPO,
        DPOConfig,
        {"loss_type": ["simpo"]} | SIMPO,
        "text",
        note="no images: TRL's trainer takes none",
    ),
    Case(
        "orpo",
        "ORPO",
        {"beta": 0.1},
        DPOConfig,
        {"loss_type": ["orpo"], "beta": 0.1},
        "text",
        accumulation=PROMPTS,
        note="no images: TRL's trainer takes none; its cross-entropy, which is of prompt and answer, is set to the answer's",
    ),
    policy("grpo", "GRPO", {}, updates=2, note="two updates of each rollout, so that the clip acts"),
    policy(
        "rloo",
        "GRPO",
        {"scale_rewards": "none"},
        kl_coef=0.0,
        updates=2,
        reward_scale=ours.NUM_SAMPLES / (ours.NUM_SAMPLES - 1),
        note="TRL's GRPO without scaling, whose baseline includes the sample itself: its rewards times G / (G - 1)",
    ),
    policy(
        "rloo (RLOOTrainer)",
        "RLOO",
        {"beta": 0.05 / RESPONSE_LEN},
        response_len=RESPONSE_LEN,
        reward_scale=1 / RESPONSE_LEN,
        note="TRL's ratio and mean are of whole responses, ours of tokens: equal lengths L, one update, its rewards and "
        "beta divided by L",
    ),
]


def settings_for(case: Case, model: str, output: str) -> tuple[dict[str, Any], TrainConfig]:
    """Of TRL's trainer, and of this project's stage."""
    per_micro_batch = PROMPTS // case.accumulation
    rows_per_prompt = ours.NUM_SAMPLES if case.stage is PPOConfig else 1  # TRL counts samples there
    cut = {"gradient_accumulation_steps": case.accumulation}
    theirs = {
        "output_dir": f"{output}/theirs",
        "per_device_train_batch_size": per_micro_batch * rows_per_prompt,
        "max_steps": NUM_STEPS,
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential",
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    flags = {
        "from_checkpoint": model,
        "output_dir": f"{output}/ours",
        "data_path": f"{Path(model).parent}/{case.records}.json",
        "image_folder": str(ours.SAMPLES),
        "data_train_split_ratio": 1.0,
        "per_device_train_batch_size": per_micro_batch,
        "max_steps": NUM_STEPS // case.updates,
        "lr_scheduler_type": "constant",
        "vis_encoder_update": True,
        "lang_decoder_update": True,
        "precision": "fp32",
    }
    if case.stage is PPOConfig:
        theirs["num_iterations"] = flags["ppo_epochs"] = case.updates
        flags |= {"actor_learning_rate": SHARED["learning_rate"], "reward_model_ckpt_path": "none: `score`"}
    return theirs | SHARED | cut | case.theirs, case.stage(**flags | SHARED | cut | case.ours)


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys(), one.keys() ^ other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def row(case: Case, theirs: ours.Outcome, mine: ours.Outcome, start: dict[str, Tensor]) -> tuple[str, float]:
    """A line of the table, and the larger one of its two differences."""
    assert len(theirs.losses) == len(mine.losses) == NUM_STEPS
    loss = max(abs(a - b) for a, b in zip(theirs.losses, mine.losses, strict=True))
    weight = largest_difference(theirs.weights, mine.weights)
    moved = largest_difference(mine.weights, start)
    same_ids = "yes" if theirs.rows == mine.rows else "NO"
    cells = [
        case.name,
        case.trainer,
        f"{mine.losses[0]:.3f} to {mine.losses[-1]:.3f}",
        f"{loss:.1e}",
        f"{weight:.1e}",
        f"{moved:.1e}",
        same_ids,
        case.note,
    ]
    return f"| {' | '.join(cells)} |", max(loss, weight) if same_ids == "yes" else float("inf")


def main(config: CompareConfig) -> bool:
    """Whether all agree."""
    from scripts import compare_trl_theirs as theirs  # here, so that a test can do without TRL

    folder = Path(config.output)
    shutil.rmtree(folder / "runs", ignore_errors=True)
    model = folder / "tiny"
    ours.write_model(model)
    ours.write_records(folder, NUM_STEPS * PROMPTS)
    start = load_file(model / "model.safetensors")
    cases = [case for case in CASES if not config.only or case.name in config.only]
    outcomes = []
    for case in cases:  # theirs first: a process group, which ours need, would change what TRL does
        settings, stage_config = settings_for(case, str(model), f"{folder}/runs/{case.name}")
        rollouts = ours.Rollouts(stage_config, case.response_len)
        outcomes.append(
            theirs.train(
                case.trainer, str(model), rollouts.records, rollouts.responses, settings, case.reward_scale
            )
        )
    dist.init_distributed(seed=0)
    lines = [
        "| loss | trainer of TRL | loss, first to last | largest difference of a loss | of a weight | weights moved | "
        "same token ids | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    agree = True
    for case, outcome in zip(cases, outcomes, strict=True):
        _, stage_config = settings_for(case, str(model), f"{folder}/runs/{case.name}")
        line, difference = row(case, outcome, ours.train(stage_config, case.response_len), start)
        lines.append(line)
        agree &= difference <= config.tolerance
    dist.shutdown()
    table = "\n".join(lines)
    (folder / "table.md").write_text(f"{table}\n")
    print(f"\n{table}")
    return agree


if __name__ == "__main__":
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    sys.exit(0 if main(HfArgumentParser(CompareConfig).parse_args_into_dataclasses()[0]) else 1)
