"""Flags of what samples answers, in policy optimisation and in prediction."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

from .flags import May, flag, require


@dataclass(frozen=True)
class EngineConfig:
    default_gpu_share: ClassVar[float] = 0.85
    rollout_tensor_parallel: ClassVar[int] = 1  # who predicts has no steps that all processes take together

    rollout_engine: str = flag(
        "own",
        "What samples: `own`, the model itself; or `vllm`, beside it in the same processes (docs/vllm.md).",
    )
    rollout_gpu_share: float = flag(
        0.0,
        "Share of a GPU's memory that vLLM takes, weights included; 0: 0.85 in prediction, else 0.3.",
        may=May.CHANGE,
        needs={"rollout_engine": ("vllm",)},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.rollout_engine in ("own", "vllm"),
            f"--rollout_engine {self.rollout_engine}: unknown; expected own or vllm",
        )
        require(
            self.rollout_engine != "vllm" or find_spec("vllm") is not None,
            "--rollout_engine vllm: there is no vLLM in this environment; `source scripts/setup_vllm.sh` makes one "
            "that has it, or leave the flag out",
        )
        require(
            0 <= self.rollout_gpu_share < 1,
            f"--rollout_gpu_share {self.rollout_gpu_share:g}: expected a share of the memory, 0 to 1",
        )

    @property
    def gpu_share(self) -> float:
        return self.rollout_gpu_share or self.default_gpu_share


@dataclass(frozen=True)
class RolloutConfig(EngineConfig):
    default_gpu_share: ClassVar[float] = 0.3

    rollout_tensor_parallel: int = flag(
        1,
        "Processes, neighbours by rank, that share one vLLM; 1: each has its own.",
        may=May.CHANGE,
        needs={"rollout_engine": ("vllm",)},
    )
    rollout_max_gap: float = flag(
        0.0,
        "Mean difference in nats between the log-probabilities of engine and trainer that stops the run; 0: 0.1, in "
        "fp32 0.001.",
        may=May.CHANGE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.rollout_tensor_parallel > 0,
            f"--rollout_tensor_parallel {self.rollout_tensor_parallel}: expected 1 or more processes",
        )
        require(self.rollout_max_gap >= 0, f"--rollout_max_gap {self.rollout_max_gap:g}: expected 0 or more")
