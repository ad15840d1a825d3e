"""The flags of what scores and measures answers that a policy samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from .data_config import DataConfig
from .flags import May, flag, require, require_other_file
from .legacy_flags import OF_GENERATION, OF_TRAINING
from .model_config import ModelConfig
from .rewards_config import RewardsConfig
from .rollout_config import EngineConfig


@dataclass(frozen=True)
class SampleScoreConfig(RewardsConfig, DataConfig, ModelConfig):
    """Scoring of sampled answers by all that rewards know."""

    without_meaning: ClassVar[Mapping[str, str]] = OF_TRAINING | OF_GENERATION

    output_path: str = flag("", "JSON Lines file to write.", may=May.CHANGE, writes="file")
    batch_size: int = flag(8, "Prompts that are scored at a time on each process.", may=May.CHANGE)
    answer_room: int = flag(
        0, "Tokens that prompt and answer may have beyond --max_seq_len, where that was of prompts alone."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.answer_room >= 0, f"--answer_room {self.answer_room}: expected 0 or more")
        require(bool(self.output_path), "--output_path: missing; expected a file to write")
        require_other_file("output_path", self.output_path, "data_path", self.data_path)


@dataclass(frozen=True)
class DriftConfig(EngineConfig, RewardsConfig, DataConfig, ModelConfig):
    """KL to a reference, and reward, on answers that a policy samples."""

    needs_reward: ClassVar[bool] = False  # without one there are no scores
    default_gpu_share: ClassVar[float] = 0.3  # beside both models and the rewards

    reference: str = flag("", "The model that the policy is compared with.", may=May.MOVE_MODEL)
    output_path: str = flag("", "JSON file to write.", may=May.CHANGE, writes="file")
    batch_size: int = flag(8, "Prompts at a time on each process.", may=May.CHANGE)
    num_return_sequences: int = flag(4, "Answers to each prompt.")
    temperature: ClassVar[float] = 1.0  # else the answers would be of another distribution
    topk: ClassVar[int] = 0
    topp: ClassVar[float] = 1.0
    max_new_tokens: int = flag(512, "Longest answer in tokens.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("reference", "output_path"):
            require(bool(getattr(self, name)), f"--{name}: missing")
        require_other_file("output_path", self.output_path, "data_path", self.data_path)
