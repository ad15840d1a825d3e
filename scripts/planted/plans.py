"""Which runs there are: 20 good ones, and one for each fault, as stages with their flags."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SHARED = {
    "max_seq_len": 128,
    "precision": "fp32",
    "lang_decoder_update": True,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 16,
    "eval_step": 10,
    "lr_scheduler_type": "constant",
}
OF_STAGE: dict[str, dict[str, Any]] = {
    "sft": {"learning_rate": 3e-3, "max_steps": 40, "vis_encoder_update": True},
    "reward_model": {"learning_rate": 1e-3, "max_steps": 40, "vis_encoder_update": True},
    "dpo": {"learning_rate": 1e-4, "max_steps": 30, "data_train_split_ratio": 0.9},
    "ppo": {
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_steps": 24,
        "max_generation_length_of_sampling": 24,
        "advantage_estimator": "grpo",
        "actor_learning_rate": 3e-4,
        "critic_learning_rate": 1e-3,
        "critic_init": "policy",
        "kl_coef": 0.05,
        "reward_functions": "scripts.planted.rewards:truth",
    },
}


@dataclass(frozen=True)
class Plan:
    """A run of a stage on the world of a seed."""

    name: str
    stage: str
    data: str  # file of records
    model: str  # folder: `tiny` knows nothing, `sft` is trained, `blind` the same with a projector that says nothing
    flags: dict[str, Any]
    fault: str = ""  # the finding that names what was planted; none in a good run

    def settings(self) -> dict[str, Any]:
        return SHARED | OF_STAGE[self.stage] | self.flags


def good(seed: int) -> Iterator[Plan]:
    """Twenty runs of all stages and estimators."""
    for number, more in enumerate(({}, {"learning_rate": 1e-3}, {"lr_scheduler_type": "cosine"})):
        yield Plan(f"sft-{number}", "sft", "sft", "tiny", more | {"seed": seed + number})
    for number, more in enumerate(({}, {"learning_rate": 3e-4})):
        yield Plan(
            f"sft-on-{number}", "sft", "sft", "sft", {"learning_rate": 3e-4, "seed": seed + number} | more
        )
    for number, more in enumerate(
        ({}, {"lr_scheduler_type": "cosine"}, {"learning_rate": 3e-3}, {"max_steps": 60})
    ):
        yield Plan(f"rm-{number}", "reward_model", "pairs", "sft", more | {"seed": seed + number})
    dpo = (
        {},
        {"learning_rate": 3e-4},
        {"loss_type": ["sigmoid", "sft"]},
        {"beta": 0.3},
        {"loss_type": "ipo"},
    )
    for number, more in enumerate(dpo):
        yield Plan(f"dpo-{number}", "dpo", "pairs", "sft", more | {"seed": seed + number})
    ppo = (
        {},
        {"num_generations": 6},
        {"advantage_estimator": "rloo"},
        {"advantage_estimator": "gae", "skip_actor_model": 4},
        {"advantage_estimator": "gae", "ppo_epochs": 2},
        {"advantage_estimator": "reinforce_plus_plus"},
    )
    for number, more in enumerate(ppo):
        yield Plan(f"ppo-{number}", "ppo", "prompts", "sft", more | {"seed": seed + number})


def faulty(seed: int) -> Iterator[Plan]:
    """One for each fault. Rates are 100 times those of good runs on the same model, or a hundredth."""
    reward = "scripts.planted.rewards:"
    only_adapters = {"lang_lora_dim": 4, "only_optimize_lora": True, "lang_decoder_update": False}
    plans = (
        ("blind_data", "sft", "without_pictures", "tiny", {}),
        ("blind_model", "sft", "sft", "blind", only_adapters | {"vis_encoder_update": False}),
        ("dull_groups", "ppo", "prompts", "sft", {"reward_functions": f"{reward}says_something"}),
        (
            "answer_not_learned",
            "ppo",
            "wrong_labels",
            "sft",
            {"reward_functions": [f"{reward}exclaims", f"{reward}truth"], "actor_learning_rate": 1e-3},
        ),
        (
            "length_growth",
            "ppo",
            "prompts",
            "sft",
            {
                "reward_functions": f"{reward}long",
                "actor_learning_rate": 1e-3,
                "max_generation_length_of_sampling": 64,
            }
            | {"missing_eos_penalty": 0, "kl_coef": 0.01},
        ),
        (
            "length_collapse",
            "ppo",
            "prompts",
            "sft",
            {"reward_functions": f"{reward}short", "actor_learning_rate": 1e-3, "kl_coef": 0.01},
        ),
        (
            "kl_runaway",
            "ppo",
            "prompts",
            "sft",
            {"reward_functions": f"{reward}names_red", "actor_learning_rate": 3e-3, "kl_coef": 0},
        ),
        ("frozen", "ppo", "prompts", "sft", {"actor_learning_rate": 0}),
        ("swapped_pairs", "dpo", "swapped", "sft", {}),
        ("away_from_chosen", "dpo", "pairs", "sft", {"loss_weights": -1}),
        ("wrong_template", "sft", "sft", "sft", {"template": "mistral"}),
        (
            "lost_eos",
            "ppo",
            "prompts",
            "sft",
            {
                "reward_functions": f"{reward}long",
                "actor_learning_rate": 1e-3,
                "max_generation_length_of_sampling": 14,
            }
            | {"missing_eos_penalty": 0, "kl_coef": 0},
        ),
        (
            "blind_reward_model",
            "reward_model",
            "pairs",
            "blind",
            only_adapters | {"vis_encoder_update": False},
        ),
        ("saturated_reward_model", "reward_model", "marked", "sft", {"learning_rate": 3e-3}),
        (
            "bad_steps",
            "sft",
            "sft",
            "tiny",
            {"learning_rate": 1e30, "max_grad_norm": 0, "max_bad_steps": 100},
        ),
        ("learning_rate_high", "sft", "sft", "sft", {"learning_rate": 0.03}),
        ("learning_rate_low", "sft", "sft", "sft", {"learning_rate": 3e-6}),
    )
    for name, stage, data, model, more in plans:
        fault = "blind_model" if name == "blind_reward_model" else name
        yield Plan(name, stage, data, model, more | {"seed": seed}, fault)
