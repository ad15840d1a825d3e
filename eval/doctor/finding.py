"""A fault that was found."""

from collections.abc import Callable
from dataclasses import dataclass

from eval.doctor.run import Run

STAGES = ("sft", "reward_model", "dpo", "ppo")


@dataclass(frozen=True)
class Finding:
    name: str
    severity: int  # 3: what comes out is worthless; 2: it learns other things than it should; 1: look at it
    says: str
    evidence: tuple[str, ...]
    cure: str


@dataclass(frozen=True)
class Symptom:
    """One thing to look at."""

    look: Callable[[Run], Finding | None]  # raises NotJudged where data are missing
    stages: tuple[str, ...] = STAGES

    @property
    def name(self) -> str:
        return self.look.__name__
