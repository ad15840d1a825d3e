"""Command-line flags: a dataclass for each concern, composed for each stage.

A field is a flag; its comment in `metadata` is the flag's help. Values that follow from others are properties:
nothing changes after parsing.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import HfArgumentParser

from .legacy_flags import read_legacy_flags

Config = TypeVar("Config")


def flag(default: Any = dataclasses.MISSING, help: str = "", **kwargs: Any) -> Any:
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata={"help": help, **kwargs})
    return dataclasses.field(default=default, metadata={"help": help, **kwargs})


class ConfigError(ValueError):
    """A flag's value is out of range, or does not go with another."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class ModelConfig:
    from_checkpoint: str = flag("", "Model folder, or the output folder of an earlier stage.")
    model_architecture: str = flag("auto", "Model family; `auto` reads it from the checkpoint.")
    template: str = flag("auto", "Prompt template; `auto` is the one the checkpoint was trained with.")
    max_seq_len: int = flag(4096, "Longest prompt with response in tokens, image tokens included.")
    precision: str = flag("auto", "bf16, fp16, fp32 or auto: bf16 on a GPU, fp32 on a CPU.")
    attn_implementation: str = flag("auto", "Attention kernel: sdpa, eager, flash_attention_2, or auto.")
    trust_remote_code: bool = flag(False, "Run Python code that comes with the checkpoint.")
    seed: int = flag(1234, "Seed of every random choice.")

    def __post_init__(self) -> None:
        _require(bool(self.from_checkpoint), "--from_checkpoint: missing; expected a model folder")
        _require(
            self.precision in ("auto", "bf16", "fp16", "fp32"),
            f"--precision {self.precision}: unknown; expected auto, bf16, fp16 or fp32",
        )
        _require(
            self.precision != "fp16" or torch.cuda.is_available(),
            "--precision fp16: needs a GPU; use bf16 or fp32 on a CPU",
        )
        _require(self.max_seq_len > 1, f"--max_seq_len {self.max_seq_len}: expected 2 tokens or more")

    @property
    def torch_dtype(self) -> torch.dtype:
        if self.precision == "auto":
            return torch.bfloat16 if torch.cuda.is_available() else torch.float32
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[self.precision]

    @property
    def attention(self) -> str | None:
        return None if self.attn_implementation == "auto" else self.attn_implementation


@dataclass(frozen=True)
class DataConfig:
    data_path: str = flag("", "File of records, or a data set folder; see data/README.md.")
    image_folder: str | None = flag(None, "Folder that image paths start from; none: the folder of the data.")
    dataset_samples: str = flag("all", "Number of records to draw at random, or `all`.")
    on_bad_record: str = flag("error", "What a record that can't be used does: `error` or `skip` (and list).")
    num_workers: int = flag(0, "Processes that encode records, for each training process.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(bool(self.data_path), "--data_path: missing; expected a file of records")
        _require(
            self.on_bad_record in ("error", "skip"),
            f"--on_bad_record {self.on_bad_record}: unknown; expected error or skip",
        )
        _require(
            self.dataset_samples == "all" or self.dataset_samples.isdigit(),
            f"--dataset_samples {self.dataset_samples}: expected a number or `all`",
        )

    @property
    def num_samples(self) -> int | None:
        return None if self.dataset_samples == "all" else int(self.dataset_samples)


@dataclass(frozen=True)
class TrainConfig:
    output_dir: str = flag("", "Folder that the run writes into.")
    resume: str = flag(
        "never", "`never`; `auto`: go on from the newest checkpoint in --output_dir; or its path."
    )
    eval_data_path: str | None = flag(None, "Records to evaluate on, instead of a part of --data_path.")
    data_train_split_ratio: float = flag(0.9, "Share of the records to train on, 0 to 1.")
    data_debug_path: str | None = flag(
        None, "Folder to write the first 10 samples into, as the model sees them."
    )
    packing: bool = flag(False, "Put several short samples into one row of --max_seq_len tokens.")

    vis_encoder_update: bool = flag(False, "Train the vision tower.")
    lang_decoder_update: bool = flag(False, "Train the language model. The projector is always trained.")
    gradient_checkpointing: bool = flag(False, "Recompute activations in the backward pass: less memory.")

    per_device_train_batch_size: int = flag(2, "Records of a micro-batch on each process.")
    per_device_eval_batch_size: int = flag(2, "Records of a micro-batch in evaluation.")
    gradient_accumulation_steps: int = flag(1, "Micro-batches of an optimizer step.")
    num_train_epochs: int = flag(6, "Passes over the records.")
    max_steps: int = flag(0, "Optimizer steps; 0: as many as the epochs take.")
    learning_rate: float = flag(1e-3, "Peak learning rate.")
    learning_rate_pretraining_components: float = flag(0.0, "Peak rate of embeddings; 0: --learning_rate.")
    lr_scheduler_type: str = flag("cosine", "Schedule of the learning rate, by its name in transformers.")
    num_warmup_steps: float = flag(0.0, "Warm-up: a share of all steps up to 1, a number of steps above.")
    weight_decay: float = flag(0.0, "AdamW weight decay; none on biases and norms.")
    adam_beta1: float = flag(0.9, "AdamW.")
    adam_beta2: float = flag(0.95, "AdamW.")
    max_grad_norm: float = flag(1.0, "Gradients are clipped to this norm; 0: never.")

    zero_stage: int = flag(0, "DeepSpeed ZeRO stage, 0 to 3.")
    offload: bool = flag(False, "Keep the optimizer state in CPU memory (ZeRO 1 and up).")
    offload_params: bool = flag(False, "Keep weights in CPU memory (ZeRO 3).")

    eval_step: int = flag(100, "Optimizer steps between evaluations; the last step evaluates too.")
    save_step: int = flag(1000, "Optimizer steps between checkpoints to resume from.")
    save_total_limit: int = flag(2, "Checkpoints to keep; 0: all.")
    report_to: list[str] = flag([], "Besides log.jsonl: tensorboard, wandb.")
    enable_tensorboard: bool = flag(False, "The same as --report_to tensorboard.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(bool(self.output_dir), "--output_dir: missing; expected a folder to write into")
        _require(self.zero_stage in range(4), f"--zero_stage {self.zero_stage}: expected 0, 1, 2 or 3")
        for name in (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "num_train_epochs",
            "eval_step",
            "save_step",
        ):
            _require(getattr(self, name) >= 1, f"--{name} {getattr(self, name)}: expected 1 or more")
        _require(
            0 < self.data_train_split_ratio <= 1,
            f"--data_train_split_ratio {self.data_train_split_ratio}: expected more than 0, at most 1",
        )
        unknown = set(self.report_to) - {"tensorboard", "wandb"}
        _require(not unknown, f"--report_to {' '.join(unknown)}: unknown; expected tensorboard, wandb")

    @property
    def micro_batches(self) -> int:
        """Micro-batches that a process takes from the data in one step."""
        return self.gradient_accumulation_steps

    def num_steps(self, steps_per_epoch: int) -> int:
        return self.max_steps or self.num_train_epochs * steps_per_epoch

    @property
    def loggers(self) -> set[str]:
        return {*self.report_to, *(["tensorboard"] if self.enable_tensorboard else [])}


@dataclass(frozen=True)
class SFTConfig(TrainConfig, DataConfig, ModelConfig):
    """Supervised fine-tuning."""


@dataclass(frozen=True)
class RewardConfig(TrainConfig, DataConfig, ModelConfig):
    """Reward model."""

    ranked_candidate_num: int = flag(0, "Responses of a prompt to use, the best first; 0: all.")


@dataclass(frozen=True)
class DPOConfig(TrainConfig, DataConfig, ModelConfig):
    """Direct preference optimisation."""

    beta: float = flag(0.1, "Weight of the KL to the reference that DPO implies.")
    label_smoothing: float = flag(0.0, "Share of labels taken to be wrong (cDPO), 0 to 0.5.")
    sft_coef: float = flag(0.0, "Weight of the cross-entropy of the chosen response, a mean over its tokens.")
    ranked_candidate_num: int = flag(0, "Responses of a prompt to use, the best first; 0: all.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(
            0 <= self.label_smoothing <= 0.5, f"--label_smoothing {self.label_smoothing}: expected 0 to 0.5"
        )


@dataclass(frozen=True)
class PPOConfig(TrainConfig, DataConfig, ModelConfig):
    """Proximal policy optimisation."""

    reward_model_ckpt_path: str = flag("", "Folder of the trained reward model.")
    critic_init: str = flag("reward", "What the critic starts from: `reward` or `policy`.")
    actor_learning_rate: float = flag(3e-5, "Peak learning rate of the policy.")
    critic_learning_rate: float = flag(3e-6, "Peak learning rate of the critic.")
    actor_zero_stage: int = flag(0, "ZeRO stage of policy and reference.")
    critic_zero_stage: int = flag(0, "ZeRO stage of critic and reward model.")
    offload_actor_model: bool = flag(False, "Keep the policy's optimizer state in CPU memory.")
    offload_critic_model: bool = flag(False, "Keep the critic's optimizer state in CPU memory.")

    max_training_step: int = flag(1000, "PPO steps at most; the epochs may end the run before.")
    num_generations: int = flag(1, "Responses sampled for each prompt.")
    num_minibatches: int = flag(1, "Updates in one pass over the responses of a step.")
    ppo_epochs: int = flag(1, "Passes over the responses of a step.")
    skip_actor_model: int = flag(0, "First steps in which the critic learns alone.")
    max_generation_length_of_sampling: int = flag(384, "Longest sampled response in tokens.")
    temperature: float = flag(1.0, "Sampling temperature; log-probabilities use the same.")
    topk: int = flag(0, "Sample among the k likeliest tokens; 0: among all, which keeps PPO on-policy.")
    topp: float = flag(1.0, "Sample among the likeliest tokens with this total probability; 1: among all.")

    kl_coef: float = flag(0.1, "Reward charged per nat of KL to the reference.")
    kl_estimator: str = flag("k1", "Estimator of the KL of a token: k1 or k3.")
    kl_target: float = flag(
        0.0, "KL of a response in nats that the coefficient adapts to; 0: it stays fixed."
    )
    kl_horizon: int = flag(10000, "Responses in which the coefficient adapts.")
    gamma: float = flag(1.0, "Discount of later rewards. 1: a response is one short episode.")
    lam: float = flag(0.95, "Lambda of generalised advantage estimation.")
    cliprange: float = flag(0.2, "Clip of the probability ratio.")
    cliprange_value: float = flag(0.2, "Clip of the change of a value.")
    whiten_advantages: bool = flag(True, "Advantages of a step get mean 0 and standard deviation 1.")
    normalize_rewards: bool = flag(True, "Scores get mean 0 and standard deviation 1 over the run so far.")
    reward_clip: float = flag(10.0, "Scores are clipped to this, plus and minus; 0: never.")
    missing_eos_penalty: float = flag(1.0, "Taken off the score of a response that was cut at full length.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(
            bool(self.reward_model_ckpt_path), "--reward_model_ckpt_path: missing; expected a reward model"
        )
        _require(
            self.critic_init in ("reward", "policy"),
            f"--critic_init {self.critic_init}: unknown; expected reward or policy",
        )
        _require(
            self.kl_estimator in ("k1", "k3"),
            f"--kl_estimator {self.kl_estimator}: unknown; expected k1 or k3",
        )
        _require(self.temperature > 0, f"--temperature {self.temperature}: expected more than 0")

    @property
    def micro_batches(self) -> int:
        return self.gradient_accumulation_steps * self.num_minibatches

    def num_steps(self, steps_per_epoch: int) -> int:
        return min(self.max_training_step, super().num_steps(steps_per_epoch))

    @property
    def for_actor(self) -> TrainConfig:
        return replace(
            self,
            learning_rate=self.actor_learning_rate,
            zero_stage=self.actor_zero_stage,
            offload=self.offload_actor_model,
        )

    @property
    def for_critic(self) -> TrainConfig:
        return replace(
            self,
            learning_rate=self.critic_learning_rate,
            zero_stage=self.critic_zero_stage,
            offload=self.offload_critic_model,
        )

    @property
    def critic_checkpoint(self) -> str:
        return self.reward_model_ckpt_path if self.critic_init == "reward" else self.from_checkpoint


@dataclass(frozen=True)
class PredictConfig(DataConfig, ModelConfig):
    """Prediction."""

    output_path: str = flag("", "JSON Lines file to write.")
    batch_size: int = flag(8, "Prompts that are answered at a time on each process.")
    max_new_tokens: int = flag(512, "Longest response in tokens.")
    num_return_sequences: int = flag(1, "Responses for each prompt.")
    temperature: float = flag(0.0, "Sampling temperature; 0 is greedy.")
    topk: int = flag(0, "Sample among the k likeliest tokens; 0: among all.")
    topp: float = flag(1.0, "Sample among the likeliest tokens with this total probability; 1: among all.")
    reward_model_ckpt_path: str = flag("", "Reward model that picks the best response (best-of-n).")
    legacy_output: bool = flag(False, "Also write ` ||| ` lines to a .res file.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(bool(self.output_path), "--output_path: missing; expected a file to write")


@dataclass(frozen=True)
class RewardScoreConfig(DataConfig, ModelConfig):
    """Scoring with a reward model."""

    output_path: str = flag("", "JSON Lines file to write: id and scores.")
    batch_size: int = flag(8, "Prompts that are scored at a time on each process.")
    shuffle_images: bool = flag(False, "Give each record another's pictures, to see whether they matter.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(bool(self.output_path), "--output_path: missing; expected a file to write")


def parse_args(config_class: type[Config], argv: Sequence[str] | None = None) -> Config:
    """The configuration of a stage from its command line. A wrong one ends the program with status 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = HfArgumentParser(config_class, allow_abbrev=False)
    try:
        known = {name.lstrip("-") for action in parser._actions for name in action.option_strings}
        argv = read_legacy_flags(argv, known)
        return parser.parse_args_into_dataclasses(argv)[0]
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def save_args(config: Any, folder: Path, name: str = "args.json") -> None:
    """Writes the resolved arguments, the command, the versions and the commit."""

    def found(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    packages = ("torch", "deepspeed", "transformers", "accelerate", "peft", "datasets")
    record = {
        "arguments": dataclasses.asdict(config),
        "command": sys.argv,
        "versions": {"python": sys.version.split()[0], **{package: found(package) for package in packages}},
        "commit": commit.stdout.strip() or None,
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / name).write_text(json.dumps(record, indent=2) + "\n")
