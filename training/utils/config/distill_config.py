"""The flags of distillation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from .data_config import DataConfig
from .flags import May, flag, require
from .model_config import ModelConfig
from .rollout_config import EngineConfig
from .sampling_config import SamplingConfig
from .train_config import TrainConfig


@dataclass(frozen=True)
class DistillConfig(SamplingConfig, EngineConfig, TrainConfig, DataConfig, ModelConfig):
    """On-policy distillation."""

    default_gpu_share: ClassVar[float] = 0.3
    # The student learns on the network that sampled.
    uses_dropout: ClassVar[bool] = False
    without_meaning: ClassVar[Mapping[str, str]] = {"packing": "sampled responses have a row for each prompt"}

    teacher: str = flag(
        "",
        "Model to learn from: of another size, family or template, with the tokenizer of --from_checkpoint.",
        may=May.MOVE_MODEL,
    )
    teacher_zero_stage: int = flag(0, "ZeRO stage of the teacher: 3 shares its weights out.", may=May.CHANGE)
    on_policy_share: float = flag(
        1.0,
        "Share of the prompts that the student answers itself; to the others the records' answers are learned.",
    )
    jsd_beta: float = flag(
        0.5,
        "Generalised Jensen-Shannon divergence: 0 is KL(teacher | student), which covers all that the teacher would "
        "say; 1 is KL(student | teacher), which keeps to what it likes best.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.teacher), "--teacher: missing; expected the folder of a model to learn from")
        for name in ("on_policy_share", "jsd_beta"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"--{name} {value:g}: expected 0 to 1")
        require(
            self.num_generations == 1 or self.on_policy_share == 1,
            f"--num_generations {self.num_generations}: expected 1 with --on_policy_share {self.on_policy_share:g}, "
            "so that prompts count alike",
        )
        require(
            self.teacher_zero_stage in (0, 3),
            f"--teacher_zero_stage {self.teacher_zero_stage}: expected 0 or 3",
        )

    @property
    def for_teacher(self) -> TrainConfig:
        return replace(self, zero_stage=self.teacher_zero_stage)
