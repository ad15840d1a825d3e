"""Responses of a micro-batch with their log-probabilities, as the losses of `loss_types.py` read them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from training.utils.data.tree import Batch, Kind
from training.utils.losses.responses import ordered_pairs, ranks, segment_mean


@dataclass
class Ranked:
    """R responses to P prompts."""

    logps: Tensor  # [R] of whole responses under the policy, nats
    ref_logps: Tensor | None  # [R]; none where no loss needs a reference
    lengths: Tensor  # [R] tokens
    prompt_of_response: Tensor  # [R]
    num_prompts: int
    scores: Tensor | None = None  # [R] as the records give them; none or NaN: listed best first
    # What some losses compare with:
    borrowed_log_ratios: Tensor | None = None  # KTO: of answers to other prompts, [B]
    image_margins: Tensor | None = (
        None  # mDPO: log-ratio of the best response less that below other images, [I]
    )
    prompt_of_image_margin: Tensor | None = None  # [I]
    mean_reward: float = 0.0  # BCO: implicit reward of all responses of the steps before

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
    def rank(self) -> Tensor:
        """How many responses to its prompt are better, [R]."""
        return ranks(self.prompt_of_response, self.scores)

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """All pairs of responses to one prompt that are not tied: the chosen and the rejected, [M] each."""
        return ordered_pairs(self.prompt_of_response, self.rank)

    def order(self, prompt_of_response: Tensor, scores: Tensor) -> None:
        """Works out ranks and pairs from the same prompts and scores on the CPU, where it waits for no device."""
        rank = ranks(prompt_of_response, scores)
        pairs = ordered_pairs(prompt_of_response, rank)
        self.rank, *self.pairs = (places.to(self.logps.device) for places in (rank, *pairs))

    @property
    def best(self) -> Tensor:
        """The first response of each prompt, [P]."""
        prompts = torch.arange(self.num_prompts, device=self.logps.device)
        return torch.searchsorted(self.prompt_of_response, prompts)

    @property
    def desirable(self) -> Tensor:
        """Whether a response is worth giving, bool, [R]: by its score above 0, else the best of its prompt. Scores
        come relative to the prompt: less the border below its best (reader.py), or its mean (sampled.py)."""
        is_best = self.rank == 0
        return is_best if self.scores is None else torch.where(self.scores.isnan(), is_best, self.scores > 0)

    def margins(self, values: Tensor) -> Tensor:
        """How far the chosen response of each pair is ahead, [R] -> [M]."""
        chosen, rejected = self.pairs
        return values[chosen] - values[rejected]

    def mean_of_pairs(self, losses: Tensor) -> Tensor:
        """Mean over the pairs of each prompt, [M] -> [P]."""
        return segment_mean(losses, self.prompt_of_response[self.pairs[0]], self.num_prompts)

    def mean_of_responses(self, losses: Tensor) -> Tensor:
        """Mean over the responses of each prompt, [R] -> [P]."""
        return segment_mean(losses, self.prompt_of_response, self.num_prompts)


def ranked_responses(batch: Batch, logps: Tensor, ref_logps: Tensor | None) -> Ranked:
    """The answers of a batch, and from its other responses what losses compare with.

    Args:
        logps, ref_logps: of all responses of the batch, whatever they are to their prompt, [R].
    """
    # Which responses, pairs and ranks there are was known when the batch was made: no process waits for its device.
    known, device = batch.on_cpu, logps.device
    own, borrowed, other_image = ((known.kind == kind).nonzero()[:, 0] for kind in Kind)
    known_prompts, known_scores = known.prompt_of_response[own], known.scores[own]
    own, borrowed, other_image = (places.to(device) for places in (own, borrowed, other_image))
    ranked = Ranked(
        logps[own],
        None if ref_logps is None else ref_logps[own],
        batch.lengths[own],
        batch.prompt_of_response[own],
        batch.num_prompts,
        batch.scores[own],
    )
    ranked.order(known_prompts, known_scores)
    if ref_logps is not None:
        log_ratios = logps - ref_logps
        ranked.borrowed_log_ratios = log_ratios[borrowed].detach()
        ranked.prompt_of_image_margin = batch.prompt_of_response[other_image]
        ahead = ranked.log_ratios[ranked.best[ranked.prompt_of_image_margin]]
        ranked.image_margins = ahead - log_ratios[other_image]
    return ranked
