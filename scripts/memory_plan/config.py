"""The flags of a memory plan: those of the stages that decide the memory, by the same names."""

from dataclasses import dataclass

from training.utils.config.flags import flag, require

WEIGHT_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
GIB = 2**30


@dataclass(frozen=True)
class Model:
    """A model of a stage."""

    name: str
    is_trained: bool
    has_lm_head: bool  # that is used


MODELS = {
    "sft": [Model("policy", True, True)],
    "rm": [Model("reward model", True, False)],
    "dpo": [Model("policy", True, True), Model("reference", False, True)],
    "ppo": [
        Model("actor", True, True),
        Model("reference", False, True),
        Model("critic", True, False),
        Model("reward model", False, False),
    ],
}


@dataclass(frozen=True)
class PlanConfig:
    from_checkpoint: str = flag(
        help="Model folder, of which config.json is read, or a stage's output folder."
    )
    stage: str = flag("sft", "sft, rm, dpo or ppo.", choices=list(MODELS))
    fit: str = flag(
        "",
        "Memory of a GPU, such as 24GB: prints the fastest settings that fit into nine tenths of it, as flags.",
    )
    cpu_memory: str = flag(
        "",
        "With --fit: CPU memory for each GPU, such as 64GB, that settings may fill; none: as much as they want.",
    )
    num_gpus: int = flag(8, "GPUs of all nodes together.")
    precision: str = flag("bf16", "Precision of weights and activations.", choices=list(WEIGHT_BYTES))
    zero_stage: int = flag(2, "DeepSpeed ZeRO stage of all models, 0 to 3.")
    grad_accum_dtype: str = flag(
        "fp32", "Precision that gradients are added up in with ZeRO 1 and up.", choices=list(WEIGHT_BYTES)
    )
    offload: bool = flag(False, "Optimizer state in CPU memory (ZeRO 1 and up).")
    offload_params: bool = flag(False, "Weights in CPU memory (ZeRO 3).")
    offload_activations: bool = flag(False, "Activations in CPU memory between forward and backward pass.")
    offload_idle_models: bool = flag(False, "PPO: each model in CPU memory while others work.")
    vis_encoder_update: bool = flag(False, "Train the vision tower.")
    lang_lora_dim: int = flag(0, "Rank of LoRA adapters of the language model; 0: all of it is trained.")
    lang_lora_module_name: str = flag("layers.", "Linear layers of the language model that get adapters.")
    gradient_checkpointing: bool = flag(True, "Recompute activations in the backward pass.")
    per_device_train_batch_size: int = flag(4, "Prompts of a micro-batch on each GPU.")
    gradient_accumulation_steps: int = flag(
        2, "Micro-batches of an optimizer step: from 2 on, gradients are there while activations are."
    )
    rollout_batch_size: int = flag(
        0, "PPO: prompts that are answered at a time on each GPU; 0: all of a step."
    )
    prompt_len: int = flag(640, "Tokens of a prompt, its images' included.")
    num_responses: int = flag(2, "Responses of a prompt: 1 for SFT, answers to rank, samples of PPO.")
    response_len: int = flag(256, "Tokens of a response.")

    def __post_init__(self) -> None:
        require(self.zero_stage in range(4), f"--zero_stage {self.zero_stage}: expected 0, 1, 2 or 3")
        for name in (
            "num_gpus",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "prompt_len",
            "num_responses",
            "response_len",
        ):
            require(getattr(self, name) >= 1, f"--{name} {getattr(self, name)}: expected 1 or more")
        for name in ("rollout_batch_size", "lang_lora_dim"):
            require(getattr(self, name) >= 0, f"--{name} {getattr(self, name)}: expected 1 or more, or 0")
        require(not self.cpu_memory or bool(self.fit), "--cpu_memory: belongs to --fit, which is missing")

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch: each prompt once, with all its responses."""
        return self.per_device_train_batch_size * self.tokens_of_prompt

    @property
    def tokens_of_prompt(self) -> int:
        """Tokens of a prompt with all its responses."""
        return self.prompt_len + self.num_responses * self.response_len

    @property
    def prompts_at_a_time(self) -> int:
        """Prompts that a GPU answers in one call of generation."""
        of_step = self.per_device_train_batch_size * self.gradient_accumulation_steps
        return min(self.rollout_batch_size or of_step, of_step)

    @property
    def learned(self) -> int:
        """Response tokens of a micro-batch."""
        return self.per_device_train_batch_size * self.num_responses * self.response_len

    @property
    def weight_bytes(self) -> int:
        return WEIGHT_BYTES[self.precision]
