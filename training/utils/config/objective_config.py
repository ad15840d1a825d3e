"""Flags of what a policy maximises. `--algorithm` sets them by the name of a paper's (algorithms.py)."""

from dataclasses import dataclass

from .flags import flag, require

# Estimators that compare the samples of a prompt, and the others.
COMPARING = ("rloo", "grpo", "group_mean", "reinforce_plus_plus_baseline")
ESTIMATORS = ("gae", *COMPARING, "reinforce_plus_plus", "batch")
WHITENED = ("gae", "reinforce_plus_plus", "reinforce_plus_plus_baseline")
OF_TOKENS = ("gae", "reinforce_plus_plus")  # advantages that differ from token to token
CHOICES = {
    "advantage_estimator": ESTIMATORS,
    "ratio_level": ("token", "sequence", "product"),
    "policy_loss": ("clip", "cispo", "sapo"),
    "loss_aggregation": ("token", "response", "max_length"),
    "kl_placement": ("auto", "reward", "loss"),
    "kl_gradient": ("k3", "k3_ratio", "k2"),
    "kl_estimator": ("k1", "k3"),
}


@dataclass(frozen=True)
class ObjectiveConfig:
    advantage_estimator: str = flag(
        "gae", f"One of {', '.join(ESTIMATORS)}; gae alone has a critic. See training/ppo/estimators.py."
    )
    whiten_advantages: bool = flag(
        True, f"Advantages of a step get mean 0 and standard deviation 1 ({', '.join(WHITENED)})."
    )
    gamma: float = flag(
        1.0,
        "Discount of later rewards. 1: a response is one short episode.",
        needs={"advantage_estimator": OF_TOKENS},
    )
    lam: float = flag(
        0.95, "Lambda of generalised advantage estimation.", needs={"advantage_estimator": ("gae",)}
    )
    ratio_level: str = flag(
        "token",
        "Probability ratio to the policy that sampled: of each token, of the whole response over its length "
        "(`sequence`, GSPO), or of the whole response (`product`, RLOO).",
    )
    policy_loss: str = flag(
        "clip", "What bounds the ratio: `clip` (PPO), `cispo` (a clipped weight), `sapo` (a soft gate)."
    )
    cliprange: float = flag(
        0.2,
        "Clip of the probability ratio, from below and above.",
        needs={"policy_loss": ("clip", "cispo")},
    )
    cliprange_high: float = flag(0.0, "Clip from above, where it differs; 0: as --cliprange.")
    sapo_tau_pos: float = flag(
        1.0,
        "Temperature of the soft gate where an advantage is positive.",
        needs={"policy_loss": ("sapo",)},
    )
    sapo_tau_neg: float = flag(1.05, "The same where it is not.", needs={"policy_loss": ("sapo",)})
    loss_aggregation: str = flag(
        "token",
        "Mean of the policy's loss: over tokens, over responses (`response`), or over responses of sums over tokens, "
        "divided by --max_generation_length_of_sampling (`max_length`).",
    )
    cliprange_value: float = flag(
        0.2, "Clip of the change of a value.", needs={"advantage_estimator": ("gae",)}
    )
    entropy_coef: float = flag(0.0, "What a nat of entropy of a token is worth in the policy's loss.")

    kl_coef: float = flag(0.1, "What a nat of KL to the reference costs.")
    kl_placement: str = flag(
        "auto", "Where KL is charged: `reward`, `loss`, or auto: in the loss with grpo, else the reward."
    )
    kl_estimator: str = flag("k1", "Estimator of the KL of a token in rewards and in the log: k1 or k3.")
    kl_gradient: str = flag(
        "k3",
        "KL of a token in the loss: k3 (GRPO's paper), k3_ratio (times the probability ratio, as TRL does) or k2 "
        "(REINFORCE++).",
    )
    kl_target: float = flag(
        0.0,
        "KL of a response in nats that the coefficient adapts to; 0: it stays fixed.",
        needs={"kl_coef": ()},
    )
    kl_horizon: int = flag(10000, "Responses in which the coefficient adapts.", needs={"kl_target": ()})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            require(value in choices, f"--{name} {value}: unknown; expected one of {', '.join(choices)}")
        require(self.cliprange >= 0, f"--cliprange {self.cliprange:g}: expected 0 or more")
        require(self.cliprange_high >= 0, f"--cliprange_high {self.cliprange_high:g}: expected 0 or more")
        require(
            not self.cliprange_high or self.policy_loss != "sapo",
            "--cliprange_high: not with --policy_loss sapo, which has a gate and no clip",
        )
        require(
            min(self.sapo_tau_pos, self.sapo_tau_neg) > 0,
            f"--sapo_tau_pos {self.sapo_tau_pos:g} --sapo_tau_neg {self.sapo_tau_neg:g}: expected more than 0",
        )
        require(
            self.ratio_level == "token" or self.advantage_estimator not in OF_TOKENS,
            f"--ratio_level {self.ratio_level}: not with --advantage_estimator {self.advantage_estimator}, whose "
            "advantages differ from token to token; use --ratio_level token",
        )
        require(
            self.kl_gradient == "k3" or self.kl_in_loss,
            f"--kl_gradient {self.kl_gradient}: the KL is charged in the reward, which has no gradient; use "
            "--kl_placement loss",
        )

    @property
    def has_critic(self) -> bool:
        return self.advantage_estimator == "gae"

    @property
    def compares_samples(self) -> bool:
        return self.advantage_estimator in COMPARING

    @property
    def whitens(self) -> bool:
        return self.whiten_advantages and self.advantage_estimator in WHITENED

    @property
    def kl_in_loss(self) -> bool:
        is_grpo = self.advantage_estimator == "grpo"
        return self.kl_placement == "loss" or (self.kl_placement == "auto" and is_grpo)
