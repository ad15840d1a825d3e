"""Flags of several reward models that count as one."""

from dataclasses import dataclass

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
        1.0, "How many standard deviations --reward_ensemble mean_std takes off."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.reward_ensemble in ("", *KINDS),
            f"--reward_ensemble {self.reward_ensemble}: unknown; expected {', '.join(KINDS)}",
        )
        require(
            self.ensemble_deviations >= 0,
            f"--ensemble_deviations {self.ensemble_deviations:g}: expected 0 or more",
        )
