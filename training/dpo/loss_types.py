"""The losses that `--loss_type` names: from ranked responses to a loss for each prompt.

With K ranked responses the losses of pairs are averaged over the pairs of a prompt, those of single responses
over its responses, so that each prompt counts once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from training.dpo.ranked import Ranked
from training.utils.config.stage_config import DPOConfig
from training.utils.data.record import DataError
from training.utils.data.tree import Kind
from training.utils.losses.preferences import (
    anchored_loss,
    bco_loss,
    biased_ranking_loss,
    dpo_loss,
    hinge_loss,
    ipo_loss,
    kto_loss,
    odds_ratio_loss,
    robust_dpo_loss,
    simpo_loss,
)
from training.utils.losses.responses import plackett_luce_loss, segment_sum
from training.utils.process import dist


def sigmoid(ranked: Ranked, config: DPOConfig) -> Tensor:
    margins = ranked.margins(ranked.rewards(config.beta))
    return ranked.mean_of_pairs(dpo_loss(margins, config.label_smoothing))


def robust(ranked: Ranked, config: DPOConfig) -> Tensor:
    margins = ranked.margins(ranked.rewards(config.beta))
    return ranked.mean_of_pairs(robust_dpo_loss(margins, config.label_smoothing))


def hinge(ranked: Ranked, config: DPOConfig) -> Tensor:
    return ranked.mean_of_pairs(hinge_loss(ranked.margins(ranked.rewards(config.beta))))


def ipo(ranked: Ranked, config: DPOConfig) -> Tensor:
    margins = ranked.margins(ranked.log_ratios / ranked.lengths)
    return ranked.mean_of_pairs(ipo_loss(margins, config.beta))


def simpo(ranked: Ranked, config: DPOConfig) -> Tensor:
    return ranked.mean_of_pairs(
        simpo_loss(ranked.margins(ranked.mean_logps), config.beta, config.simpo_gamma)
    )


def orpo(ranked: Ranked, config: DPOConfig) -> Tensor:
    """Cross-entropy of the chosen response and `beta` times the odds-ratio term (arXiv 2403.07691, equation 6)."""
    chosen, rejected = ranked.pairs
    odds = odds_ratio_loss(ranked.mean_logps[chosen], ranked.mean_logps[rejected])
    return ranked.mean_of_pairs(config.beta * odds - ranked.mean_logps[chosen])


def sft(ranked: Ranked, config: DPOConfig) -> Tensor:
    """Cross-entropy of the best response (arXiv 2404.19733, equation 1): it keeps its probability up."""
    return -ranked.mean_logps[ranked.best]


def plackett_luce(ranked: Ranked, config: DPOConfig) -> Tensor:
    """DPO over K ranked responses (arXiv 2305.18290, appendix A.3)."""
    rewards = ranked.rewards(config.beta)
    return plackett_luce_loss(rewards, ranked.prompt_of_response, ranked.num_prompts, ranked.rank)


def biased_ranking(ranked: Ranked, config: DPOConfig) -> Tensor:
    rewards = ranked.rewards(config.beta)
    prompts = ranked.prompt_of_response
    return biased_ranking_loss(rewards, prompts, ranked.num_prompts, config.label_smoothing, ranked.rank)


def kto(ranked: Ranked, config: DPOConfig) -> Tensor:
    """Weighted KTO of single responses (arXiv 2402.01306, equation 8), each desirable or not."""
    log_ratios = ranked.borrowed_log_ratios
    total, count = (dist.sum_over_ranks(x) for x in (log_ratios.sum(), len(log_ratios)))
    kl = (total / count.clamp(min=1)).clamp(min=0).to(log_ratios)  # nats
    losses = kto_loss(ranked.rewards(config.beta), ranked.desirable, config.beta * kl)
    weights = losses.new_tensor([config.undesirable_weight, config.desirable_weight])
    return ranked.mean_of_responses(weights[ranked.desirable.long()] * losses)


def bco(ranked: Ranked, config: DPOConfig) -> Tensor:
    losses = bco_loss(ranked.rewards(config.beta), ranked.desirable, ranked.mean_reward)
    return ranked.mean_of_responses(losses)


def image_conditional(ranked: Ranked, config: DPOConfig) -> Tensor:
    """DPO of the best response below its images against the same below other ones (arXiv 2406.11839, equation 3)."""
    losses = dpo_loss(config.beta * ranked.image_margins)
    return segment_sum(losses, ranked.prompt_of_image_margin, ranked.num_prompts)


def anchored(ranked: Ranked, config: DPOConfig) -> Tensor:
    return anchored_loss(ranked.rewards(config.beta)[ranked.best])


def mdpo(ranked: Ranked, config: DPOConfig) -> Tensor:
    """mDPO (arXiv 2406.11839, equation 6)."""
    return sigmoid(ranked, config) + image_conditional(ranked, config) + anchored(ranked, config)


@dataclass(frozen=True)
class LossType:
    """A loss, and what it needs to be computed."""

    function: Callable[[Ranked, DPOConfig], Tensor]
    reference: bool = True
    pairs: bool = True  # else one response will do
    labels: bool = False  # each response is desirable or not
    compares_with: Kind = Kind.OWN
    mean_reward: bool = False


LOSS_TYPES = {
    "sigmoid": LossType(sigmoid),
    "robust": LossType(robust),
    "hinge": LossType(hinge),
    "ipo": LossType(ipo),
    "simpo": LossType(simpo, reference=False),
    "orpo": LossType(orpo, reference=False),
    "sft": LossType(sft, reference=False, pairs=False),
    "kto": LossType(kto, pairs=False, labels=True, compares_with=Kind.BORROWED),
    "bco": LossType(bco, pairs=False, labels=True, mean_reward=True),
    "image_conditional": LossType(image_conditional, compares_with=Kind.OTHER_IMAGE),
    "anchored": LossType(anchored),
    "mdpo": LossType(mdpo, compares_with=Kind.OTHER_IMAGE),
    "plackett_luce": LossType(plackett_luce),
    "biased_ranking": LossType(biased_ranking),
}


class WeightedLosses:
    """The sum of the losses that a configuration names."""

    def __init__(self, config: DPOConfig) -> None:
        """
        Raises:
            DataError: a name is unknown, or there are not as many weights as names.
        """
        names, weights = config.loss_type, config.loss_weights
        unknown = [name for name in names if name not in LOSS_TYPES]
        if unknown or not names:
            raise DataError(
                f"--loss_type {' '.join(unknown)}: unknown; expected some of {', '.join(LOSS_TYPES)}"
            )
        if weights and len(weights) != len(names):
            raise DataError(f"--loss_weights: found {len(weights)}, expected {len(names)}, one for each loss")
        self.config = config
        self.losses = [LOSS_TYPES[name] for name in names]
        self.weights = weights or [1.0] * len(names)
        self.need_reference = any(loss.reference for loss in self.losses)
        self.need_mean_reward = any(loss.mean_reward for loss in self.losses)
        # With pairs the figures tell the desirable answers apart.
        self.need_labels = any(loss.labels or loss.pairs for loss in self.losses)
        self.min_responses = 2 if any(loss.pairs for loss in self.losses) else 1

    def compare_with(self, kind: Kind) -> bool:
        return any(loss.compares_with == kind for loss in self.losses)

    def __call__(self, ranked: Ranked) -> Tensor:
        """A loss for each prompt, [P]."""
        weighted = zip(self.weights, self.losses, strict=True)
        return sum(weight * loss.function(ranked, self.config) for weight, loss in weighted)
