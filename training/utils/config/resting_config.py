"""The flag of several models that take turns on a device."""

from dataclasses import dataclass

from .flags import May, flag


@dataclass(frozen=True)
class RestingConfig:
    offload_idle_models: bool = flag(
        False,
        "Keep each model in CPU memory while others work: policy, reference and reward models, and a critic.",
        may=May.CHANGE,
    )
