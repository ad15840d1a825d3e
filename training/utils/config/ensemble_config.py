"""Flags of several scores that count as one: of several reward models, and of the aspects of one."""

from dataclasses import dataclass

from .aspects import weights_of
from .flags import flag, require

ENSEMBLE = "ensemble"  # the name of its score
KINDS = ("mean", "min", "mean_std")  # training/rewards/ensemble.py


@dataclass(frozen=True)
class EnsembleConfig:
    reward_ensemble: str = flag(
        "",
        "Reward models count as one, by the `mean` of their scores, their `min`, or `mean_std`, the mean less their "
        "standard deviation; none: each is a reward of its own.",
    )
    ensemble_deviations: float = flag(
        1.0,
        "How many standard deviations --reward_ensemble mean_std takes off.",
        needs={"reward_ensemble": ("mean_std",)},
    )
    aspect_weights: list[str] = flag(
        [],
        "Of a reward model with several outputs, how much each counts: `helpful:0.5 truthful:1`, and those that are "
        "not named do not; none: their mean.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.reward_ensemble in ("", *KINDS),
            f"--reward_ensemble {self.reward_ensemble}: unknown; expected {', '.join(KINDS)}",
        )
        weights_of(self.aspect_weights)
        require(
            self.ensemble_deviations >= 0,
            f"--ensemble_deviations {self.ensemble_deviations:g}: expected 0 or more",
        )
