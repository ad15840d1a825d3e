"""What is measured: models, works, and how each is done."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from training.utils.flags import ConfigError
from training.utils.stage_config import SFTConfig

MODELS = {"llava-1.5": "7b", "qwen2.5-vl": "7b"}
STAGES = {
    "dpo": "DPO, 4 prompts, 2 answers",
    "rm": "reward model, 4 prompts, 4 answers",
    "grpo": "GRPO, 1 prompt of 1,200 tokens, 8 samples of 300",
    "generate": "generation, 8 prompts, 4 samples of 64 tokens",
}
AIMS = {"dpo": 1.6, "rm": 2.5, "grpo": 2.5}  # times as fast as rows


@dataclass(frozen=True)
class Way:
    """How a micro-batch is done."""

    name: str
    as_rows: bool
    flags: dict[str, Any]


def takes(**flags: Any) -> bool:
    """Whether the stages know these flags, and take their values."""
    try:
        SFTConfig(from_checkpoint="x", data_path="x", output_dir="x", **flags)
    except (TypeError, ConfigError):
        return False
    return True


PLAIN = {"fused_kernels": "off"} if takes(fused_kernels="off") else {}
OTHERS = {
    "trees, SDPA": {"attn_implementation": "sdpa"},  # else FlexAttention
    "trees, fused kernels": {"fused_kernels": "on"},
}
WAYS = [
    Way("trees", False, PLAIN),
    Way("rows", True, PLAIN),
    *(Way(name, False, PLAIN | flags) for name, flags in OTHERS.items() if takes(**flags)),
]


@dataclass(frozen=True)
class Section:
    """A model and a work: a process of its own."""

    family: str
    stage: str

    @property
    def name(self) -> str:
        return f"{self.family}:{self.stage}"

    @property
    def ways(self) -> Iterator[Way]:
        return (way for way in WAYS if self.stage != "generate" or way.name != "trees, SDPA")


SECTIONS = {
    section.name: section for section in (Section(family, stage) for family in MODELS for stage in STAGES)
}
