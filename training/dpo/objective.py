"""What moves a policy: the weighted losses of a batch against its reference, with figures to show."""

import torch
from torch import Tensor

from training.dpo.loss_types import WeightedLosses
from training.dpo.mean_reward import MeanReward
from training.dpo.ranked import Ranked, ranked_responses
from training.dpo.reference import Reference, response_logps
from training.utils.config.stage_config import DPOConfig
from training.utils.data.tree import Batch
from training.utils.engine.engine import Engine
from training.utils.loop.tally import Figures


class Objective:
    """
    Attributes:
        mean_reward: what it remembers from step to step.
    """

    def __init__(
        self, losses: WeightedLosses, engine: Engine, reference: Reference | None, config: DPOConfig
    ) -> None:
        self.losses, self.engine, self.reference, self.config = losses, engine, reference, config
        self.mean_reward = MeanReward()

    def __call__(self, batch: Batch, counts: bool = True) -> tuple[Tensor, Figures]:
        """The weighted sum of the losses that were asked for, [P].

        Args:
            counts: False for prompts that are there to make the same passes as other processes: their losses are 0.
        """
        beta = self.config.beta
        ref_logps = self.reference(batch) if self.reference else None
        logps = response_logps(self.engine, batch, self.config.temperature)
        ranked = ranked_responses(batch, logps, ref_logps)
        if self.losses.need_mean_reward:
            if self.engine.is_training:
                rewards = ranked.rewards(beta).detach()
                self.mean_reward.see(rewards if counts else rewards[:0])
            ranked.mean_reward = self.mean_reward.value
        losses = self.losses(ranked)
        return (losses, preference_figures(ranked, beta)) if counts else (0 * losses, {})


@torch.no_grad()
def preference_figures(ranked: Ranked, beta: float) -> Figures:
    """Log-probabilities of desirable and undesirable responses; with a reference their implicit rewards, the margin
    of pairs and how often it is on the right side, how far the policy has moved on these responses, in nats, and how
    often the reference by itself gives the better response the higher log-probability of a token."""
    good, margins = ranked.desirable, ranked.margins(ranked.mean_logps)
    bad = ~good
    figures = {
        "chosen_logps": (ranked.logps.where(good, 0).sum(), good.sum()),
        "rejected_logps": (ranked.logps.where(bad, 0).sum(), bad.sum()),
    }
    if ranked.ref_logps is not None:
        before = ranked.margins(ranked.ref_logps / ranked.lengths)
        rewards = ranked.rewards(beta)
        margins = ranked.margins(rewards)
        figures |= {
            "chosen_reward": (rewards.where(good, 0).sum(), good.sum()),
            "rejected_reward": (rewards.where(bad, 0).sum(), bad.sum()),
            "margin": (margins.sum(), len(margins)),
            "reference_accuracy": ((before > 0).sum(), len(before)),
            "moved": (ranked.log_ratios.abs().sum(), len(ranked.logps)),
        }
    return figures | {"accuracy": ((margins > 0).sum(), len(margins))}
