"""The flags of scoring with reward models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from .data_config import DataConfig
from .ensemble_config import EnsembleConfig
from .flags import flag, require, require_other_file
from .legacy_flags import OF_GENERATION, OF_TRAINING
from .stage_config import RewardModelConfig


@dataclass(frozen=True)
class RewardScoreConfig(EnsembleConfig, DataConfig, RewardModelConfig):
    """Scoring with a reward model, or with several as one."""

    without_meaning: ClassVar[Mapping[str, str]] = OF_TRAINING | OF_GENERATION

    ensemble_with: list[str] = flag([], "More reward models: --reward_ensemble says how they count as one.")
    keep_scale: bool = flag(
        False,
        "Keep mean and standard deviation of these scores in the reward model's folder, by which it is compared with "
        "others in an ensemble.",
    )
    output_path: str = flag("", "JSON Lines file to write: id and scores.", writes="file")
    batch_size: int = flag(8, "Prompts that are scored at a time on each process.")
    health_path: str = flag(
        "",
        "Folder for a health report; for it the answers are also scored with others' pictures and blank ones.",
        writes="folder",
    )
    legacy_output: bool = flag(False, "Also write ` ||| ` lines, one for each answer, to a .res file.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.output_path), "--output_path: missing; expected a file to write")
        require_other_file("output_path", self.output_path, "data_path", self.data_path)
        require(
            bool(self.ensemble_with) == bool(self.reward_ensemble),
            "--ensemble_with and --reward_ensemble: expected both, other reward models and how all count as one",
        )
        for path in {*self.members}:
            require(self.members.count(path) == 1, f"--ensemble_with {path}: is a member twice")
        require(
            not self.keep_scale or not self.ensemble_with,
            "--keep_scale: is of one reward model; not with --ensemble_with",
        )

    @property
    def members(self) -> list[str]:
        """The reward models that score."""
        return [self.from_checkpoint, *self.ensemble_with]
