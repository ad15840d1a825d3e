"""What `compare_trl.py` compares."""

from typing import Any

from scripts.compare_trl_case import PROMPTS, Case
from scripts.compare_trl_ours import NUM_SAMPLES
from training.utils.config.algorithms import ALGORITHMS, AS_SCORED
from training.utils.config.distill_config import DistillConfig
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, SFTConfig

KL_COEF = 0.05  # where there is a reference


def preference(
    trainer: str,
    *losses: str,
    records: str = "ranked",
    accumulation: int = 1,
    note: str = "",
    theirs: dict[str, Any] | None = None,
    **both: Any,
) -> Case:
    """A loss of `train_dpo.py`, or a sum of some, that TRL's trainer knows by the same names and flags."""
    names = {"DPO": list(losses)}.get(trainer, losses[0])  # the others take one
    theirs = {"loss_type": names} if theirs is None else theirs
    mine = {"loss_type": list(losses)}
    return Case(
        " + ".join(losses), trainer, theirs | both, DPOConfig, mine | both, records, accumulation, note=note
    )


def policy(
    name: str,
    trainer: str,
    theirs: dict[str, Any],
    kl_coef: float = 0.0,
    note: str = "",
    ours: dict[str, Any] | None = None,
    **more: Any,
) -> Case:
    """An algorithm on given responses, without what shapes the rewards on one side only.

    Args:
        name: of an algorithm, or with `ours` of what they are.
    """
    theirs = {"beta": kl_coef, "max_completion_length": 64, "use_bias_correction_kl": False} | theirs
    if trainer == "RLOO":
        del theirs["use_bias_correction_kl"]
    mine = dict(ALGORITHMS[name].sets) if ours is None else AS_SCORED | ours
    mine |= {"kl_coef": kl_coef, "max_generation_length_of_sampling": 64}
    mine |= {"dynamic_sampling": 0, "overlong_buffer": 0.0}  # the responses are given
    both = {"num_generations": NUM_SAMPLES, "temperature": 1.0}
    return Case(name, trainer, theirs | both, PPOConfig, mine | both, "sampled", note=note, **more)


CASES = [
    Case("sft", "SFT", {}, SFTConfig, {}, "single"),
    preference("DPO", "sigmoid"),
    preference("DPO", "hinge"),
    preference("DPO", "ipo"),
    preference("DPO", "robust", label_smoothing=0.1),
    preference(
        "DPO",
        "sigmoid",
        "sft",
        loss_weights=[1.0, 0.5],
        accumulation=PROMPTS,
        note="a prompt a micro-batch: TRL averages the sft term over the tokens of a micro-batch, we over each "
        "answer's",
    ),
    Case(
        "plackett_luce",
        "DPO",
        {"loss_type": ["sigmoid"]},
        DPOConfig,
        {"loss_type": ["plackett_luce"]},
        "ranked",
        note="two answers: against TRL's sigmoid",
    ),
    preference(
        "KTO",
        "kto",
        records="labelled",
        desirable_weight=1.3,
        note="batches of 2: the answer borrowed "
        "from the next prompt (ours) is that from the one before (TRL)",
    ),
    preference(
        "CPO",
        "simpo",
        records="text",
        beta=2.0,
        simpo_gamma=0.5,
        theirs={"loss_type": "simpo", "cpo_alpha": 0.0},
        note="no images: TRL's trainer takes none; its cpo_alpha, 1 unless told, is 0",
    ),
    preference(
        "ORPO",
        "orpo",
        records="text",
        accumulation=PROMPTS,
        theirs={},
        note="no images: TRL's trainer takes none; its cross-entropy, which is of prompt and answer, set to the "
        "answer's (else the losses differ by up to 0.14)",
    ),
    Case(
        "sigmoid, online",
        "OnlineDPO",
        {"beta": 0.1, "max_new_tokens": 64, "missing_eos_penalty": 1.0},
        OnlineDPOConfig,
        {
            "online": True,
            "beta": 0.1,
            "num_generations": 2,
            "max_generation_length_of_sampling": 64,
        },
        "ranked",
        accumulation=PROMPTS,
        rewards={"checksum": 1.0, "num_spaces": -0.5},
        note="two answers to each prompt, ranked by two rewards; of answers of equal worth TRL learns the first, we "
        "nothing, so here none are; a prompt a micro-batch: TRL puts padding before a prompt; 2 of 18,960 "
        "embeddings, whose gradient is of the size of rounding, are farther apart than 1e-4",
        slack=5.0,
    ),
    *(
        Case(
            f"distillation, beta {beta:g}",
            "Distillation",
            {"beta": beta, "max_completion_length": 64, "shuffle_dataset": False},
            DistillConfig,
            {"jsd_beta": beta, "on_policy_share": 0.0},
            "single",
            note="the records' answers as the sampled ones",
        )
        for beta in (0.0, 0.5, 1.0)
    ),
    policy(
        "grpo",
        "GRPO",
        {"loss_type": "grpo"},
        kl_coef=KL_COEF,
        updates=2,
        note="two updates of each rollout, so that the clip acts",
    ),
    policy(
        "grpo, tokens",
        "GRPO",
        {},
        kl_coef=KL_COEF,
        updates=2,
        ours={"advantage_estimator": "grpo"},
        note="mean over tokens: TRL's default",
    ),
    policy(
        "grpo, KL with its ratio",
        "GRPO",
        {"use_bias_correction_kl": True},
        kl_coef=KL_COEF,
        updates=2,
        ours={"advantage_estimator": "grpo", "kl_gradient": "k3_ratio"},
        note="TRL's default",
    ),
    policy("dr_grpo", "GRPO", {"loss_type": "dr_grpo", "scale_rewards": "none"}, updates=2),
    policy(
        "dapo",
        "GRPO",
        {"loss_type": "dapo", "epsilon_high": 0.28},
        updates=2,
        note="without dynamic sampling and overlong shaping",
    ),
    policy(
        "gspo",
        "GRPO",
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon": 3e-4,
            "epsilon_high": 4e-4,
        },
        updates=2,
    ),
    policy("cispo", "GRPO", {"loss_type": "cispo", "epsilon_high": 5.0}, updates=2, note="TRL's is 1 + ours"),
    policy("sapo", "GRPO", {"loss_type": "sapo"}, updates=2),
    policy(
        "gdpo",
        "GRPO",
        {"loss_type": "grpo", "multi_objective_aggregation": "normalize_then_sum"},
        kl_coef=KL_COEF,
        updates=2,
        rewards={"reward": 1.0, "num_spaces": -0.5},
        note="two rewards",
    ),
    policy(
        "rloo, tokens",
        "GRPO",
        {"scale_rewards": "none"},
        updates=2,
        ours={"advantage_estimator": "rloo"},
        reward_scale=NUM_SAMPLES / (NUM_SAMPLES - 1),
        note="TRL's GRPO without scaling: its baseline includes the sample itself, so its rewards times G / (G - 1)",
    ),
    policy(
        "rloo",
        "RLOO",
        {},
        kl_coef=KL_COEF,
        updates=2,
        note="ratios of whole responses",
    ),
]
