"""Flags of how a model in training samples answers."""

from dataclasses import dataclass

from .flags import May, flag, require


@dataclass(frozen=True)
class SamplingConfig:
    num_generations: int = flag(1, "Responses sampled for each prompt.")
    rollout_batch_size: int = flag(
        0,
        "Prompts that a process answers at a time; 0: all of a step, which is fastest. Fewer take less memory: each "
        "keeps keys and values of its tokens, at 7B 0.5 MiB a token (LLaVA-1.5), 0.06 to 0.12 with grouped queries.",
        may=May.CHANGE,
    )
    max_generation_length_of_sampling: int = flag(384, "Longest sampled response in tokens.")
    temperature: float = flag(1.0, "Sampling temperature; log-probabilities use the same.")
    topk: int = flag(0, "Sample among the k likeliest tokens; 0: among all, which keeps training on-policy.")
    topp: float = flag(1.0, "Sample among the likeliest tokens with this total probability; 1: among all.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.rollout_batch_size >= 0,
            f"--rollout_batch_size {self.rollout_batch_size}: expected 1 or more, or 0",
        )
        require(self.temperature > 0, f"--temperature {self.temperature}: expected more than 0")
        require(
            not self.max_tokens_per_batch,
            f"--max_tokens_per_batch {self.max_tokens_per_batch}: not where responses are sampled, which have no "
            "length before; set --per_device_train_batch_size",
        )
        require(
            not self.cache_image_features,
            "--cache_image_features: not where responses are sampled: each model there may have its own tower",
        )

    @property
    def prompts_at_a_time(self) -> int:
        """Prompts that a process answers in one call of generation."""
        return self.rollout_batch_size or self.per_device_train_batch_size * self.micro_batches
