"""Algorithms by the names of their papers: which flags of policy optimisation `--algorithm NAME` sets.

What is given beside it on the command line is not set by it. docs/algorithms.md has the table for people.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .flags import require


class Algorithm(NamedTuple):
    paper: str  # arXiv
    equation: str  # what of it is set
    sets: Mapping[str, Any]  # values by flag


# What the papers without a critic do not do to the scores of responses.
AS_SCORED = {"normalize_rewards": False, "reward_clip": 0.0, "missing_eos_penalty": 0.0}
PPO = {
    "advantage_estimator": "gae",
    "ratio_level": "token",
    "policy_loss": "clip",
    "loss_aggregation": "token",
    "kl_placement": "reward",
}
GRPO = PPO | {
    "advantage_estimator": "grpo",
    "loss_aggregation": "response",
    "kl_placement": "loss",
    **AS_SCORED,
}
WITHOUT_KL = GRPO | {"kl_coef": 0.0}

ALGORITHMS = {
    "ppo": Algorithm("1707.06347", "equations 7 and 11", PPO),
    "rloo": Algorithm(
        "2402.14740",
        "equation 6",
        PPO
        | {"advantage_estimator": "rloo", "ratio_level": "product", "loss_aggregation": "response"}
        | AS_SCORED,
    ),
    "grpo": Algorithm("2402.03300", "equations 3 and 4", GRPO | {"kl_coef": 0.04}),
    "reinforce_plus_plus": Algorithm(
        "2501.03262", "section 3, REINFORCE++", PPO | {"advantage_estimator": "reinforce_plus_plus"}
    ),
    "reinforce_plus_plus_baseline": Algorithm(
        "2501.03262",
        "section 3, with baseline",
        PPO
        | {
            "advantage_estimator": "reinforce_plus_plus_baseline",
            "kl_placement": "loss",
            "kl_gradient": "k2",
        }
        | AS_SCORED,
    ),
    "dr_grpo": Algorithm(
        "2503.20783",
        "section 3.2",
        WITHOUT_KL | {"advantage_estimator": "group_mean", "loss_aggregation": "max_length"},
    ),
    "dapo": Algorithm(
        "2503.14476",
        "equations 8 to 13",
        WITHOUT_KL
        | {
            "cliprange": 0.2,
            "cliprange_high": 0.28,
            "loss_aggregation": "token",
            "dynamic_sampling": 10,
            "overlong_buffer": 0.2,
        },
    ),
    "gspo": Algorithm(
        "2507.18071",
        "equations 5 to 7",
        WITHOUT_KL | {"ratio_level": "sequence", "cliprange": 3e-4, "cliprange_high": 4e-4},
    ),
    "cispo": Algorithm(
        "2506.13585",
        "equations 4 and 5",
        WITHOUT_KL
        | {
            "policy_loss": "cispo",
            "cliprange": 1.0,
            "cliprange_high": 4.0,
            "loss_aggregation": "token",
        },
    ),
    "sapo": Algorithm(
        "2511.20347",
        "section 3",
        WITHOUT_KL | {"policy_loss": "sapo", "sapo_tau_pos": 1.0, "sapo_tau_neg": 1.05},
    ),
    "gdpo": Algorithm(
        "2601.05242",
        "section 3",
        GRPO | {"advantage_estimator": "batch", "normalize_each_reward": True},
    ),
}


def as_flags(given: Sequence[str]) -> list[str]:
    """The flags that `--algorithm NAME` stands for.

    Raises:
        ConfigError: no algorithm, or several, or one that is unknown.
    """
    known = ", ".join(ALGORITHMS)
    require(len(given) == 1, f"--algorithm: expected one argument, one of {known}")
    (name,) = given
    require(name in ALGORITHMS, f"--algorithm {name}: unknown; expected one of {known}")
    return [word for flag, value in ALGORITHMS[name].sets.items() for word in (f"--{flag}", str(value))]
