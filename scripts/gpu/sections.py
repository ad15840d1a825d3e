"""What is measured: models, works, and how each is done."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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


PLAIN = {"fused_kernels": "off"}
WAYS = [
    Way("trees", False, PLAIN),
    Way("rows", True, PLAIN),
    Way("trees, SDPA", False, PLAIN | {"attn_implementation": "sdpa"}),  # else FlexAttention
    Way("trees, fused kernels", False, {"fused_kernels": "on"}),
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
