"""The losses that `--loss_type` names: from ranked responses to a loss for each prompt."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from training.utils.data.record import DataError
from training.utils.losses import ordered_pairs, plackett_luce_loss, segment_sum
from training.utils.preference_losses import (
    biased_ranking_loss,
    dpo_loss,
    hinge_loss,
    ipo_loss,
    odds_ratio_loss,
    robust_dpo_loss,
    simpo_loss,
)
from training.utils.stage_config import DPOConfig


@dataclass
class Ranked:
    """R responses to P prompts, those of a prompt listed best first."""

    logps: Tensor  # [R] of whole responses under the policy, nats
    ref_logps: Tensor | None  # [R]; none where no loss needs a reference
    lengths: Tensor  # [R] tokens
    prompt_of_response: Tensor  # [R]
    num_prompts: int

    @property
    def log_ratios(self) -> Tensor:
        return self.logps - self.ref_logps

    def rewards(self, beta: float) -> Tensor:
        """Implicit rewards, [R]."""
        return beta * self.log_ratios

    @property
    def mean_logps(self) -> Tensor:
        """Per token."""
        return self.logps / self.lengths

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """All ordered pairs of responses to one prompt: the chosen and the rejected, [M] each."""
        return ordered_pairs(self.prompt_of_response)

    @property
    def best(self) -> Tensor:
        """The first response of each prompt, [P]."""
        prompts = torch.arange(self.num_prompts, device=self.logps.device)
        return torch.searchsorted(self.prompt_of_response, prompts)

    def margins(self, values: Tensor) -> Tensor:
        """How far the chosen response of each pair is ahead, [R] -> [M]."""
        chosen, rejected = self.pairs
        return values[chosen] - values[rejected]

    def per_prompt(self, losses: Tensor) -> Tensor:
        """Mean over the pairs of each prompt, [M] -> [P]."""
        prompt = self.prompt_of_response[self.pairs[0]]
        num_pairs = torch.bincount(prompt, minlength=self.num_prompts)
        return segment_sum(losses, prompt, self.num_prompts) / num_pairs


def sigmoid(ranked: Ranked, config: DPOConfig) -> Tensor:
    margins = ranked.margins(ranked.rewards(config.beta))
    return ranked.per_prompt(dpo_loss(margins, config.label_smoothing))


def robust(ranked: Ranked, config: DPOConfig) -> Tensor:
    margins = ranked.margins(ranked.rewards(config.beta))
    return ranked.per_prompt(robust_dpo_loss(margins, config.label_smoothing))


def hinge(ranked: Ranked, config: DPOConfig) -> Tensor:
    return ranked.per_prompt(hinge_loss(ranked.margins(ranked.rewards(config.beta))))


def ipo(ranked: Ranked, config: DPOConfig) -> Tensor:
    margins = ranked.margins(ranked.log_ratios / ranked.lengths)
    return ranked.per_prompt(ipo_loss(margins, config.beta))


def simpo(ranked: Ranked, config: DPOConfig) -> Tensor:
    return ranked.per_prompt(simpo_loss(ranked.margins(ranked.mean_logps), config.beta, config.simpo_gamma))


def orpo(ranked: Ranked, config: DPOConfig) -> Tensor:
    """Cross-entropy of the chosen response and `beta` times the odds-ratio term (arXiv 2403.07691, equation 6)."""
    chosen, rejected = ranked.pairs
    odds = odds_ratio_loss(ranked.mean_logps[chosen], ranked.mean_logps[rejected])
    return ranked.per_prompt(config.beta * odds - ranked.mean_logps[chosen])


def sft(ranked: Ranked, config: DPOConfig) -> Tensor:
    """Cross-entropy of the best response (arXiv 2404.19733, equation 1): it keeps its probability up."""
    return -ranked.mean_logps[ranked.best]


def plackett_luce(ranked: Ranked, config: DPOConfig) -> Tensor:
    """DPO over K ranked responses (arXiv 2305.18290, appendix A.3)."""
    rewards = ranked.rewards(config.beta)
    return plackett_luce_loss(rewards, ranked.prompt_of_response, ranked.num_prompts)


def biased_ranking(ranked: Ranked, config: DPOConfig) -> Tensor:
    rewards = ranked.rewards(config.beta)
    return biased_ranking_loss(rewards, ranked.prompt_of_response, ranked.num_prompts, config.label_smoothing)


LossType = Callable[[Ranked, DPOConfig], Tensor]
WITH_REFERENCE: list[LossType] = [sigmoid, robust, hinge, ipo, plackett_luce, biased_ranking]
WITHOUT_REFERENCE: list[LossType] = [simpo, orpo, sft]
LOSS_TYPES = {loss.__name__: loss for loss in (*WITH_REFERENCE, *WITHOUT_REFERENCE)}


@dataclass(frozen=True)
class WeightedLosses:
    """The sum of the losses that a configuration names.

    Raises:
        DataError: a name is unknown, or there are not as many weights as names.
    """

    config: DPOConfig

    def __post_init__(self) -> None:
        names, weights = self.config.loss_type, self.config.loss_weights
        unknown = [name for name in names if name not in LOSS_TYPES]
        if unknown or not names:
            raise DataError(
                f"--loss_type {' '.join(unknown)}: unknown; expected some of {', '.join(LOSS_TYPES)}"
            )
        if weights and len(weights) != len(names):
            raise DataError(f"--loss_weights: found {len(weights)}, expected {len(names)}, one for each loss")

    @property
    def need_reference(self) -> bool:
        return any(LOSS_TYPES[name] in WITH_REFERENCE for name in self.config.loss_type)

    def __call__(self, ranked: Ranked) -> Tensor:
        """A loss for each prompt, [P]."""
        names = self.config.loss_type
        weights = self.config.loss_weights or [1.0] * len(names)
        return sum(
            weight * LOSS_TYPES[name](ranked, self.config)
            for name, weight in zip(names, weights, strict=True)
        )
