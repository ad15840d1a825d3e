"""Flags of what scores answers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from os.path import normpath
from pathlib import Path
from typing import ClassVar

from .ensemble_config import ENSEMBLE, EnsembleConfig
from .flags import ConfigError, May, Shorthand, flag, require
from .reward_judge_config import CHAT, RewardJudgeConfig

# The rewards that ship (training/rewards/table.py).
OF_LABELS = frozenset({"exact", "number", "count", "choice", "boxed", "iou"})  # need the records' labels
OF_OBJECTS = frozenset({"chair", "recall", "amber"})  # need --truth
SHIPPED = OF_LABELS | OF_OBJECTS | {"format", "length"}
# How DeepSeek-R1 (arXiv 2501.12948, table 1) and R1-V want it.
THINK_ANSWER = r"<think>((?!</?think>|</?answer>).)*</think>\s*<answer>((?!</?think>|</?answer>).)*</answer>"
ADDRESS = rf"(?:{re.escape(CHAT)})?https?://"
OWN_FLAGS = ("reward_model_ckpt_path", "reward_functions", "reward_endpoints")


def as_flags(given: Sequence[str]) -> list[str]:
    """The flags that `--rewards` stands for: models, functions and endpoints, and the weight of each.

    Raises:
        ConfigError: one is none of them.
    """
    require(bool(given), "--rewards: expected names, each with a weight behind a colon if it is not 1")
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in OWN_FLAGS}
    for word in given:
        name, weight = split_weight(word)
        if re.match(ADDRESS, name):
            kind = "reward_endpoints"
        elif name in SHIPPED or re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
            kind = "reward_functions"
        elif "/" in name or Path(name).is_dir():
            kind = "reward_model_ckpt_path"
        else:
            raise ConfigError(
                f"--rewards {word}: unknown; expected one of {', '.join(sorted(SHIPPED))}, module:function, an "
                "address, or the folder of a reward model"
            )
        found[kind].append((name, weight))
    flags = []
    for kind, named in found.items():
        flags += [f"--{kind}", *(name for name, _ in named)] if named else []
    # Spelled out: argparse takes -1e-3 for a flag.
    weights = [format(Decimal(weight), "f") for named in found.values() for _, weight in named]
    return [*flags, "--reward_weights", *weights]


def split_weight(word: str) -> tuple[str, str]:
    """A reward's name and its weight. The number behind an address's host is its port."""
    name, colon, last = word.rpartition(":")
    is_port = re.fullmatch(rf"{ADDRESS}[^/]*", name) is not None
    if colon and not is_port and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", last):
        return name, last
    return word, "1"


def weights_of_scores(
    reward_model_ckpt_path: Sequence[str],
    reward_functions: Sequence[str],
    reward_endpoints: Sequence[str],
    weights: Sequence[float],
    ensemble: str,
) -> dict[str, float]:
    """The scores that count, by name, and their weights: of each reward, and of an ensemble in place of its members.

    Args:
        weights: one for each reward; none: 1 each.
        ensemble: how reward models count as one; empty: they do not.
    """
    names = [*reward_model_ckpt_path, *reward_functions, *reward_endpoints]
    found = dict(zip(names, weights or [1.0] * len(names), strict=True))
    if not ensemble:
        return found
    of_members = [found.pop(path) for path in reward_model_ckpt_path]
    return {ENSEMBLE: of_members[0]} | found


@dataclass(frozen=True)
class RewardsConfig(EnsembleConfig, RewardJudgeConfig):
    needs_reward: ClassVar[bool] = True

    shorthands: ClassVar[Mapping[str, Shorthand]] = {
        "rewards": Shorthand(
            "What scores answers, each as NAME or NAME:WEIGHT: "
            f"{', '.join(sorted(SHIPPED))}; module:function; an address; the folder of a reward model. See "
            "docs/rewards.md.",
            as_flags,
            instead_of=(*OWN_FLAGS, "reward_weights"),
        )
    }

    reward_model_ckpt_path: list[str] = flag(
        [],
        "Trained reward models; each may be of another family, tokenizer or template than the policy.",
        may=May.MOVE_MODEL,
    )
    reward_functions: list[str] = flag(
        [],
        "Functions that score answers: Python's, as module:function, or of those that ship, as with --rewards.",
        may=May.KEEP_CODE,
    )
    reward_endpoints: list[str] = flag(
        [],
        f"Addresses that score answers, {CHAT}http://HOST/v1 by asking a chat model; a key is read from "
        "$REWARD_API_KEY.",
    )
    reward_weights: list[float] = flag(
        [], "A weight for each reward: models, then functions, then endpoints; none: 1 each."
    )
    captions: str = flag(
        "",
        "Files with captions of the pictures, which reward models read below the question, and the policy does not.",
        may=May.MOVE_FILES,
    )
    reward_timeout_s: float = flag(
        60.0, "Seconds to wait for an endpoint, and for a function's answer to a prompt.", may=May.CHANGE
    )
    reward_retries: int = flag(5, "How often an endpoint is asked again.", may=May.CHANGE)
    reward_format: str = flag(
        THINK_ANSWER,
        "Regular expression that --rewards format wants the whole response to match.",
        needs={"reward_functions": ("format",)},
    )
    reward_length: list[int] = flag(
        [1, 100],
        "Fewest and most words of a response that --rewards length takes nothing off.",
        needs={"reward_functions": ("length",)},
    )
    truth: str = flag(
        "",
        "What pictures hold, for --rewards chair, recall and amber: COCO's annotation files, or truth_*.json of a "
        "demo world.",
        may=May.MOVE_FILES,
    )
    synonyms: str = flag(
        "",
        "CHAIR's file of synonyms, which COCO's --truth needs.",
        may=May.MOVE_FILES,
        needs={"truth": ()},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        rewards = [
            *map(normpath, self.reward_model_ckpt_path),
            *self.reward_functions,
            *self.reward_endpoints,
        ]
        num_rewards = len(rewards)
        for name in sorted({name for name in rewards if rewards.count(name) > 1}):
            require(False, f"{name}: given as a reward twice; give it once, with a --reward_weights of 2")
        require(
            num_rewards > 0 or not self.needs_reward,
            "--reward_model_ckpt_path: missing; expected a reward model, --reward_functions or --reward_endpoints",
        )
        require(
            len(self.reward_weights) in (0, num_rewards),
            f"--reward_weights: found {len(self.reward_weights)}, expected {num_rewards}, one for each reward",
        )
        of_models = self.weights[: len(self.reward_model_ckpt_path)]
        require(
            not self.reward_ensemble or len(of_models) > 1,
            f"--reward_ensemble {self.reward_ensemble}: found {len(of_models)} reward model(s), expected 2 or more",
        )
        require(
            not self.reward_ensemble or len(set(of_models)) == 1,
            f"--reward_ensemble {self.reward_ensemble}: its reward models have the weights "
            f"{' '.join(f'{weight:g}' for weight in of_models)}; expected one for all, that of the ensemble",
        )
        for name in self.reward_functions:
            require(
                ":" in name or name in SHIPPED,
                f"--reward_functions {name}: unknown; expected module:function or one of "
                f"{', '.join(sorted(SHIPPED))}",
            )
        of_objects = sorted(OF_OBJECTS & {*self.shipped})
        require(
            bool(self.truth) or not of_objects,
            f"--truth: missing; --rewards {' '.join(of_objects)} compares answers with what the pictures hold",
        )
        require(
            self.reward_timeout_s > 0, f"--reward_timeout_s {self.reward_timeout_s:g}: expected more than 0"
        )
        bounds = self.reward_length
        require(
            len(bounds) == 2 and 0 <= bounds[0] <= bounds[1] and bounds[1] > 0,
            f"--reward_length {' '.join(map(str, bounds))}: expected the fewest and the most words",
        )
        try:
            re.compile(self.reward_format)
        except re.error as error:
            raise ConfigError(f"--reward_format {self.reward_format}: {error}") from None

    @property
    def shipped(self) -> list[str]:
        """Those of the functions that ship."""
        return [name for name in self.reward_functions if name in SHIPPED]

    @property
    def needs_answers(self) -> bool:
        """Whether a reward checks answers against the records' labels."""
        return bool(OF_LABELS & {*self.shipped})

    @property
    def may_read_labels(self) -> bool:
        """Whether scores may depend on the records' labels: nothing is known of endpoints and own functions."""
        return self.needs_answers or bool(self.reward_endpoints or {*self.reward_functions} - SHIPPED)

    @property
    def weights(self) -> list[float]:
        """Of each reward: models, then functions, then endpoints."""
        return self.reward_weights or [1.0] * len(self.rewards)

    @property
    def rewards(self) -> list[str]:
        """All that scores: models, then functions, then endpoints."""
        return [name for flag in OWN_FLAGS for name in getattr(self, flag)]

    @property
    def weight_of_score(self) -> dict[str, float]:
        """The scores that count, by name, and their weights."""
        flags = {name: getattr(self, name) for name in OWN_FLAGS}
        return weights_of_scores(**flags, weights=self.reward_weights, ensemble=self.reward_ensemble)
