"""The flags of DPO on answers that the policy samples as it learns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from .flags import flag, require
from .resting_config import RestingConfig
from .rewards_config import RewardsConfig
from .rollout_config import RolloutConfig
from .sampling_config import SamplingConfig
from .stage_config import OF_ALL, DPOConfig

# Losses that look at more than answers to the prompt.
OTHERS = {
    "kto": "answers to other prompts",
    "mdpo": "other pictures",
    "image_conditional": "other pictures",
}
OF_ONE = {"sft", "bco"}  # take each answer by itself
PICKS = ("best_worst", "ranked")


@dataclass(frozen=True)
class OnlineDPOConfig(SamplingConfig, RestingConfig, RolloutConfig, RewardsConfig, DPOConfig):
    """Online DPO."""

    samples: ClassVar[bool] = True
    without_meaning: ClassVar[Mapping[str, str]] = {
        "packing": "sampled responses have a row for each prompt",
        "ranked_candidate_num": "answers are sampled, as many as --num_generations says",
    }

    num_generations: int = flag(2, "Answers sampled for each prompt.")
    pick: str = flag(
        "best_worst",
        "Which of them are learned from. best_worst: the best against the worst; ranked: all, the best first.",
    )
    margin: float = flag(
        0.0, "Least difference of the scores of the best and the worst; 0: they must differ."
    )
    missing_eos_penalty: float = flag(1.0, "Taken off the score of an answer that was cut at full length.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.num_generations > 1,
            f"--num_generations {self.num_generations}: expected 2 or more with --online, which compares the answers "
            "to a prompt",
        )
        require(
            not self.reference_cache,
            "--reference_cache: not with --online, whose answers are new in each step; leave it out",
        )
        for name in self.loss_type:
            require(
                name not in OTHERS,
                f"--loss_type {name}: not with --online; it compares with {OTHERS.get(name)}, and sampled are "
                "answers to the prompt alone",
            )
            require(
                name not in OF_ALL or self.pick == "ranked",
                f"--loss_type {name}: ranks all answers; expected --pick ranked",
            )
        require(
            not {*self.loss_type} <= OF_ONE,
            f"--loss_type {' '.join(self.loss_type)}: compares no answers; expected a loss of pairs beside it, such "
            "as sigmoid",
        )
        require(self.pick in PICKS, f"--pick {self.pick}: unknown; expected one of {', '.join(PICKS)}")
        require(self.margin >= 0, f"--margin {self.margin:g}: expected 0 or more")
