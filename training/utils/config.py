"""Command-line flags that stages share: a dataclass for each concern. `stage_config.py` composes them.

A field is a flag; its comment in `metadata` is the flag's help. Values that follow from others are properties:
nothing changes after parsing.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from . import dist
from .flags import May, flag


class ConfigError(ValueError):
    """A flag's value is out of range, or does not go with another."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def require_other_file(output_flag: str, output: str, input_flag: str, given: str) -> None:
    """An output may not be what it is made from."""
    inputs = {Path(name).resolve() for name in (given, *given.split())}
    require(
        not output or Path(output).resolve() not in inputs,
        f"--{output_flag} {output}: is also --{input_flag}, which would be written over; choose another file",
    )


@dataclass(frozen=True)
class ModelConfig:
    from_checkpoint: str = flag(
        "", "Model folder, or the output folder of an earlier stage.", may=May.MOVE_MODEL
    )
    model_architecture: str = flag("auto", "Model family; `auto` reads it from the checkpoint.")
    template: str = flag("auto", "Prompt template; `auto` is the one the checkpoint was trained with.")
    word_tokens: list[str] = flag(
        [], "Special tokens of the checkpoint that are words, such as '<box>' '</box>'; see data/README.md."
    )
    max_seq_len: int = flag(4096, "Longest prompt with response in tokens, image tokens included.")
    max_pixels: int = flag(
        0,
        "Most pixels that a picture keeps, in families that keep a picture's resolution or cut it into tiles; 0: as "
        "the checkpoint, and one that was not trained here lowered so that a picture takes at most 3/4 of "
        "--max_seq_len.",
    )
    min_pixels: int = flag(
        0, "Fewest pixels that a picture is enlarged to, in such families; 0: as the checkpoint."
    )
    image_aspect_ratio: str = flag(
        "auto",
        "`pad`: to a square in the mean colour, as LLaVA-1.5 was trained; `auto`: as the checkpoint's processor.",
    )
    precision: str = flag("auto", "bf16, fp16, fp32 or auto: bf16 on a GPU, fp32 on a CPU.")
    attn_implementation: str = flag(
        "auto", "Attention: eager, or auto: PyTorch's fused kernels, flash attention where it fits."
    )
    trust_remote_code: bool = flag(False, "Run Python code that comes with the checkpoint.", may=May.CHANGE)
    seed: int = flag(1234, "Seed of every random choice.")
    max_silence_s: float = flag(
        180.0,
        "Seconds without a sign of life after which one of several processes counts as gone, and the run ends.",
        may=May.CHANGE,
    )

    def __post_init__(self) -> None:
        require(bool(self.from_checkpoint), "--from_checkpoint: missing; expected a model folder")
        require(
            self.precision in ("auto", "bf16", "fp16", "fp32"),
            f"--precision {self.precision}: unknown; expected auto, bf16, fp16 or fp32",
        )
        require(
            self.precision != "fp16" or torch.cuda.is_available(),
            "--precision fp16: needs a GPU; use bf16 or fp32 on a CPU",
        )
        require(
            self.attn_implementation in ("auto", "eager"),
            f"--attn_implementation {self.attn_implementation}: unknown; expected auto or eager",
        )
        require(
            self.image_aspect_ratio in ("auto", "pad"),
            f"--image_aspect_ratio {self.image_aspect_ratio}: unknown; expected auto or pad",
        )
        for name in ("max_pixels", "min_pixels"):
            require(getattr(self, name) >= 0, f"--{name} {getattr(self, name)}: expected 1 or more, or 0")
        require(self.max_seq_len > 1, f"--max_seq_len {self.max_seq_len}: expected 2 tokens or more")

    @property
    def for_another_model(self) -> "ModelConfig":
        """The same for a checkpoint that knows its own family, template and pictures."""
        own = {"model_architecture": "auto", "template": "auto", "image_aspect_ratio": "auto"}
        return dataclasses.replace(self, **own, max_pixels=0, min_pixels=0, word_tokens=[])

    @property
    def torch_dtype(self) -> torch.dtype:
        if self.precision == "auto":
            return torch.bfloat16 if torch.cuda.is_available() else torch.float32
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[self.precision]

    @property
    def attention(self) -> str | None:
        return None if self.attn_implementation == "auto" else self.attn_implementation


@dataclass(frozen=True)
class PartsConfig:
    """What a model is built from, where there is no checkpoint of a whole one."""

    lm_model_name_or_path: str = flag("", "Build a model from parts: folder of the language model.")
    vision_model_name_or_path: str = flag(
        "", "Build a model from parts: folder of a CLIP, or open_clip:NAME=WEIGHTS."
    )
    vis_proj: str = flag("baseline", "Its projector: baseline, vit, perceiver or mlp2x_gelu.")
    num_queries: int = flag(256, "Tokens of an image with the perceiver, a square number.")
    enable_mmca_attention: bool = flag(False, "Give it multi-modal causal attention (arXiv 2309.14327).")


@dataclass(frozen=True)
class DataConfig:
    data_path: str = flag(
        "",
        "File of records, a folder or pattern of files, or several with spaces between; see data/README.md.",
        may=May.MOVE,
    )
    data_weights: list[float] = flag(
        [],
        "How often an epoch visits the records of each path: 1 once, 0.5 half of them; none: each once.",
        may=May.DIFFER_IN_RECORDS,
    )
    columns: list[str] = flag(
        [],
        "What the data call a field, as field=name: prompt=question images=pics.",
        may=May.DIFFER_IN_RECORDS,
    )
    image_folder: str | None = flag(
        None, "Folder that image paths start from; none: the folder of the data.", may=May.MOVE_PICTURES
    )
    dataset_samples: str = flag(
        "all", "Number of records to draw at random, or `all`.", may=May.DIFFER_IN_RECORDS
    )
    on_bad_record: str = flag(
        "error",
        "What a record that can't be used does: `error` or `skip` (and list).",
        may=May.DIFFER_IN_RECORDS,
    )
    verify_images: str = flag(
        "auto",
        "Look at each picture before the run: full, header, none; auto: full up to 50,000 records.",
        may=May.CHANGE,
    )
    num_workers: int = flag(
        -1,
        "Processes that encode records, for each training process; -1: cores that a GPU machine can spare.",
        may=May.CHANGE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.data_path), "--data_path: missing; expected a file of records")
        require(
            self.on_bad_record in ("error", "skip"),
            f"--on_bad_record {self.on_bad_record}: unknown; expected error or skip",
        )
        require(
            self.dataset_samples == "all" or self.dataset_samples.isdigit(),
            f"--dataset_samples {self.dataset_samples}: expected a number or `all`",
        )

        require(
            self.verify_images in ("auto", "full", "header", "none"),
            f"--verify_images {self.verify_images}: unknown; expected auto, full, header or none",
        )
        require(
            all(weight > 0 for weight in self.data_weights),
            f"--data_weights {' '.join(map(str, self.data_weights))}: expected numbers above 0",
        )
        odd = [pair for pair in self.columns if len(pair.split("=")) != 2 or not all(pair.split("="))]
        require(not odd, f"--columns {' '.join(odd)}: expected field=name, e.g. prompt=question")

    @property
    def renamed_columns(self) -> tuple[tuple[str, str], ...]:
        """Names that a format knows, and what the data call them."""
        return tuple(tuple(pair.split("=")) for pair in self.columns)

    @property
    def workers(self) -> int:
        """Processes that encode records, for each training process. On a CPU the training needs every core."""
        if self.num_workers >= 0:
            return self.num_workers
        return min(4, dist.cores() - 1) if torch.cuda.is_available() else 0

    @property
    def num_samples(self) -> int | None:
        return None if self.dataset_samples == "all" else int(self.dataset_samples)


@dataclass(frozen=True)
class TrainConfig:
    uses_dropout: ClassVar[bool] = True  # of trained parts, at the rates that the checkpoint's config gives

    output_dir: str = flag("", "Folder that the run writes into.", may=May.CHANGE)
    resume: str = flag(
        "never",
        "`never`; `auto`: go on from the newest checkpoint in --output_dir; or its path.",
        may=May.CHANGE,
    )
    restart: bool = flag(
        False, "Set the run in --output_dir aside, into a folder there, and begin anew.", may=May.CHANGE
    )
    eval_data_path: str | None = flag(
        None, "Records to evaluate on, instead of a part of --data_path.", may=May.MOVE
    )
    data_train_split_ratio: float = flag(
        0.9, "Share of the records to train on, 0 to 1; at most 2,000 are held out."
    )
    eval_samples: int = flag(
        512, "Held-out records that an evaluation uses, drawn by the seed; 0: all.", may=May.CHANGE
    )
    data_debug_path: str | None = flag(
        None, "Folder to write the first 10 samples into, as the model sees them.", may=May.CHANGE
    )
    packing: bool = flag(False, "Put several short samples into one row of --max_seq_len tokens.")

    vis_encoder_update: bool = flag(False, "Train the vision tower.")
    lang_decoder_update: bool = flag(False, "Train the language model. The projector is always trained.")
    lang_lora_dim: int = flag(
        0, "Rank of LoRA adapters of the language model, in place of its weights; 0: none."
    )
    lang_lora_module_name: str = flag("layers.", "Linear layers of the language model that get adapters.")
    vis_lora_dim: int = flag(
        0, "Rank of LoRA adapters of the vision tower, in place of its weights; 0: none."
    )
    vis_lora_module_name: str = flag("", "Linear layers of the vision tower that get adapters.")
    lora_alpha: float = flag(0.0, "Adapters are scaled by this over their rank; 0: by 1.")
    only_optimize_lora: bool = flag(False, "Freeze the projector too, so that adapters alone are trained.")
    load_in_4bit: bool = flag(False, "Keep the frozen language model in 4 bit (QLoRA; GPU only).")
    gradient_checkpointing: bool = flag(
        False, "Recompute activations in the backward pass: less memory.", may=May.CHANGE
    )

    per_device_train_batch_size: int = flag(2, "Records of a micro-batch on each process.", may=May.RESHAPE)
    per_device_eval_batch_size: int = flag(2, "Records of a micro-batch in evaluation.", may=May.CHANGE)
    gradient_accumulation_steps: int = flag(1, "Micro-batches of an optimizer step.", may=May.RESHAPE)
    num_train_epochs: int = flag(6, "Passes over the records.", may=May.LENGTHEN)
    max_steps: int = flag(0, "Optimizer steps; 0: as many as the epochs take.", may=May.LENGTHEN)
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

    grad_accum_dtype: str = flag(
        "fp32",
        "Precision that gradients of micro-batches are added up in with ZeRO 1 and up: fp32, bf16 or fp16.",
    )
    max_bad_steps: int = flag(
        0,
        "Steps in a row whose loss or gradient is not finite that are passed over; 0: the first ends the run.",
        may=May.CHANGE,
    )

    eval_step: int = flag(
        100, "Optimizer steps between evaluations; the last step evaluates too.", may=May.CHANGE
    )
    save_step: int = flag(1000, "Optimizer steps between checkpoints to resume from.", may=May.CHANGE)
    save_minutes: float = flag(
        0.0, "Besides, minutes after a checkpoint until the next; 0: --save_step alone.", may=May.CHANGE
    )
    max_hours: float = flag(
        0.0,
        "Hours after its start when the run stops with a checkpoint, to go on when started again; 0: it does not.",
        may=May.CHANGE,
    )
    max_step_minutes: float = flag(
        60.0,
        "Minutes without a step, a batch of evaluation or a checkpoint after which a run hangs, and is ended; "
        "0: never.",
        may=May.CHANGE,
    )
    save_total_limit: int = flag(2, "Checkpoints to keep; 0: all.", may=May.CHANGE)
    report_to: list[str] = flag([], "Besides log.jsonl: tensorboard, wandb.", may=May.CHANGE)
    enable_tensorboard: bool = flag(False, "The same as --report_to tensorboard.", may=May.CHANGE)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.output_dir), "--output_dir: missing; expected a folder to write into")
        require(self.zero_stage in range(4), f"--zero_stage {self.zero_stage}: expected 0, 1, 2 or 3")
        require(
            self.grad_accum_dtype in ("fp32", "bf16", "fp16"),
            f"--grad_accum_dtype {self.grad_accum_dtype}: unknown; expected fp32, bf16 or fp16",
        )
        for name in ("max_bad_steps", "eval_samples"):
            require(getattr(self, name) >= 0, f"--{name} {getattr(self, name)}: expected 0 or more")
        for name in (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "num_train_epochs",
            "eval_step",
            "save_step",
        ):
            require(getattr(self, name) >= 1, f"--{name} {getattr(self, name)}: expected 1 or more")
        for name in ("save_minutes", "max_hours", "max_step_minutes"):
            require(getattr(self, name) >= 0, f"--{name} {getattr(self, name)}: expected more than 0, or 0")
        require(
            0 < self.data_train_split_ratio <= 1,
            f"--data_train_split_ratio {self.data_train_split_ratio}: expected more than 0, at most 1",
        )
        require(
            not self.only_optimize_lora or self.lang_lora_dim + self.vis_lora_dim > 0,
            "--only_optimize_lora: needs --lang_lora_dim or --vis_lora_dim above 0",
        )
        require(
            not self.load_in_4bit
            or (self.lang_lora_dim > 0 and torch.cuda.is_available() and self.zero_stage < 3),
            "--load_in_4bit: needs --lang_lora_dim, a GPU and ZeRO 2 or less",
        )
        unknown = set(self.report_to) - {"tensorboard", "wandb"}
        require(not unknown, f"--report_to {' '.join(unknown)}: unknown; expected tensorboard, wandb")

    @property
    def micro_batches(self) -> int:
        """Micro-batches that a process takes from the data in one step."""
        return self.gradient_accumulation_steps

    @property
    def updates_per_step(self) -> int:
        """Optimizer updates of a step of the run."""
        return 1

    def critic_only_steps(self, num_steps: int) -> int:
        """First steps of a run of `num_steps` in which nothing but a critic learns."""
        return 0

    def num_steps(self, steps_per_epoch: int) -> int:
        return self.max_steps or self.num_train_epochs * steps_per_epoch

    @property
    def loggers(self) -> set[str]:
        return {*self.report_to, *(["tensorboard"] if self.enable_tensorboard else [])}
