"""Flags of a run that trains."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from .flags import May, flag, require


@dataclass(frozen=True)
class TrainConfig:
    uses_dropout: ClassVar[bool] = True  # of trained parts, at the rates that the checkpoint's config gives

    output_dir: str = flag("", "Folder that the run writes into.", may=May.CHANGE, writes="folder")
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
    max_tokens_per_batch: int = flag(
        0,
        "Cut a step into micro-batches of up to so many tokens, padding included, from records of like length; 0: of "
        "--per_device_train_batch_size records. A step has as many records in both cases.",
        may=May.CHANGE,
    )

    vis_encoder_update: bool = flag(False, "Train the vision tower.")
    lang_decoder_update: bool = flag(False, "Train the language model. The projector is always trained.")
    lang_lora_dim: int = flag(
        0, "Rank of LoRA adapters of the language model, in place of its weights; 0: none."
    )
    lang_lora_module_name: str = flag(
        "layers.", "Linear layers of the language model that get adapters.", needs={"lang_lora_dim": ()}
    )
    vis_lora_dim: int = flag(
        0, "Rank of LoRA adapters of the vision tower, in place of its weights; 0: none."
    )
    vis_lora_module_name: str = flag(
        "", "Linear layers of the vision tower that get adapters.", needs={"vis_lora_dim": ()}
    )
    lora_alpha: float = flag(
        0.0,
        "Adapters are scaled by this over their rank; 0: by 1.",
        needs={"lang_lora_dim": (), "vis_lora_dim": ()},
    )
    only_optimize_lora: bool = flag(False, "Freeze the projector too, so that adapters alone are trained.")
    cache_image_features: str = flag(
        "",
        "Folder to keep the output of a frozen vision tower in, by picture: it is computed once, for all epochs and "
        "runs with that tower; none: computed in each epoch.",
        may=May.CHANGE,
    )
    load_in_4bit: bool = flag(False, "Keep the frozen language model in 4 bit (QLoRA; GPU only).")
    gradient_checkpointing: bool = flag(
        False, "Recompute activations in the backward pass: less memory.", may=May.CHANGE
    )
    compile: bool = flag(
        False,
        "Compile decoder layers (torch.compile; ZeRO 2 or less): takes a minute or two at the first steps. Sampling "
        "runs without.",
        may=May.CHANGE,
    )
    fused_kernels: str = flag(
        "auto",
        "liger-kernel's norms, rotary positions and gates: on, off, or auto: on a GPU where it is installed and "
        "knows the model, without --compile.",
        may=May.CHANGE,
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

    zero_stage: int = flag(0, "DeepSpeed ZeRO stage, 0 to 3.", may=May.CHANGE)
    offload: bool = flag(False, "Keep the optimizer state in CPU memory (ZeRO 1 and up).", may=May.CHANGE)
    offload_params: bool = flag(False, "Keep weights in CPU memory (ZeRO 3).", may=May.CHANGE)
    offload_activations: bool = flag(
        False, "Keep activations in CPU memory between forward and backward pass.", may=May.CHANGE
    )

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
        require(
            not (self.packing and 0 < self.max_tokens_per_batch < self.max_seq_len),
            f"--max_tokens_per_batch {self.max_tokens_per_batch}: expected at least --max_seq_len {self.max_seq_len} "
            "with --packing, which makes rows of so many tokens",
        )
        for name in ("max_bad_steps", "eval_samples", "max_tokens_per_batch", "save_total_limit"):
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
            self.fused_kernels in ("auto", "on", "off"),
            f"--fused_kernels {self.fused_kernels}: unknown; expected auto, on or off",
        )
        require(
            not self.compile or self.fused_kernels != "on",
            "--compile: not with --fused_kernels on, which replaces what it would compile; leave one of them out",
        )
        require(
            not self.compile or (self.zero_stage < 3 and not self.load_in_4bit),
            "--compile: not with --zero_stage 3 or --load_in_4bit, which put weights together within a layer",
        )
        require(
            not self.cache_image_features or not (self.vis_encoder_update or self.vis_lora_dim),
            "--cache_image_features: not with --vis_encoder_update or --vis_lora_dim, which change what the tower "
            "says of a picture in each step; leave one of them out",
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
