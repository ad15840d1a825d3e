"""Watches the gap between engine and trainer, stops the run when it jumps, and says what most likely is wrong."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import Protocol

import torch
from torch import Tensor

from ..config.rollout_config import RolloutConfig
from ..data.encode import without_responses
from ..data.record import MARKER
from ..data.tree import Batch, Tree
from ..engine.engine import Engine
from ..process import dist
from .gap import EngineGap, logps_told, mean_gap, measure_gap
from .responder import Responder

REMEMBERED = 20  # steps that a gap is compared with
JUMP = 5.0  # times the largest of them
LEAST_JUMP = 0.1  # of the limit: a smaller gap is none
TOO_LIKELY = -8.0  # standard deviations of surprise
EXPLAINED = 0.2  # of a gap, at most this is left where its cause is taken away
ROUNDED = 3.0  # times, up or down, that two ways to round differ in size


class Observed(Protocol):
    """A micro-batch of sampled responses, and what the models say of their N tokens, nats, [N]."""

    trees: list[Tree]
    batch: Batch
    old_logps: Tensor  # of the policy that sampled
    entropy: Tensor  # of that policy where it chose each token
    ref_logps: Tensor
    sampled_logps: Tensor | None  # of the engine that sampled, where it tells


class GapWatch:
    def __init__(self, config: RolloutConfig, sampler: Responder, actor: Engine) -> None:
        self.config, self.sampler, self.actor = config, sampler, actor
        self.limit = config.rollout_max_gap or (0.001 if config.torch_dtype == torch.float32 else 0.1)
        self.earlier: deque[float] = deque(maxlen=REMEMBERED)

    def look(self, step: int, observed: Sequence[Observed]) -> dict[str, float]:
        """The figures of a step; none where the engine tells no log-probabilities. All processes must call it.

        Raises:
            EngineGap: the gap is too large, or has jumped.
        """
        if observed[0].sampled_logps is None:
            return {}
        names = ("sampled_logps", "old_logps", "entropy")
        gap = measure_gap(*(torch.cat([getattr(each, name) for each in observed]) for name in names))
        if self.samples_from_all and gap.surprise < TOO_LIKELY:
            raise EngineGap(
                f"step {step}: the engine samples likely tokens too often, {-gap.surprise:.0f} standard deviations "
                "beyond what the trainer's entropy allows: top-p, top-k, min-p or another temperature is on in it, "
                "which is not in --topp, --topk and --temperature"
            )
        has_jumped = (
            len(self.earlier) > 2
            and gap.mean > JUMP * max(self.earlier)
            and gap.mean > LEAST_JUMP * self.limit
        )
        if gap.mean > self.limit or has_jumped:
            before = f"; in the steps before it was {max(self.earlier):.2g} at most" if self.earlier else ""
            raise EngineGap(
                f"step {step}: the log-probabilities of engine and trainer are {gap.mean:.2g} nats apart in the mean "
                f"(at most {gap.max:.2g}){before}: {self.cause(gap.mean, observed)}"
            )
        self.earlier.append(gap.mean)
        return gap.figures

    @property
    def samples_from_all(self) -> bool:
        return self.config.topk == 0 and self.config.topp == 1

    def cause(self, gap: float, observed: Sequence[Observed]) -> str:
        """What explains a gap, found by taking one suspect away after the other."""
        sampled = torch.cat([each.sampled_logps for each in observed])
        reference = torch.cat([each.ref_logps for each in observed])
        if mean_gap(sampled, reference) < EXPLAINED * gap:
            return (
                "the engine has the weights that the run began with; weights of the policy do not arrive (are its "
                "adapters merged, and do the names match?)"
            )
        prompts = observed[0].trees
        with self.sampler.engine.awake():
            again = self.gap_of_new(prompts)
            without = self.gap_of_new([self.without_pictures(tree) for tree in prompts])
        if again < EXPLAINED * gap:
            return (
                "sent once more it is gone, so the engine had older weights; sending them fails now and then"
            )
        if dist.sum_over_ranks(sum(bool(tree.vision) for tree in prompts)) and without < EXPLAINED * gap:
            return (
                f"without pictures it is {without:.2g}, so the engine sees other pictures than the trainer: another "
                "order, another image processor, features of old weights, or a tower whose weights do not arrive"
            )
        if nearest := self.precision_like(gap, observed):
            return (
                f"that is what {nearest} makes of the trainer's own, so the engine computes in {nearest} and the "
                f"trainer in {name_of(self.config.torch_dtype)}"
            )
        return (
            "neither the start's weights, nor pictures, nor precision explain it; most likely the engine holds "
            "weights of an earlier step, or its kernels are wrong for this model: try another version of vLLM, or "
            "--rollout_engine own"
        )

    def gap_of_new(self, prompts: Sequence[Tree]) -> float:
        """The mean gap of one new response to each of some prompts."""
        trees = self.sampler.respond(prompts, range(len(prompts)), -1, num_samples=1)
        batch = self.sampler.collate(trees).to(dist.device())
        with torch.no_grad(), self.actor.evaluating():
            logps = self.actor(batch, self.config.temperature)
        return mean_gap(logps_told(trees, batch), logps)

    def without_pictures(self, tree: Tree) -> Tree:
        """The prompt of a record, its pictures left out."""
        turns = tuple(
            replace(turn, text=turn.text.replace(MARKER, "").strip() or "?") for turn in tree.record.turns
        )
        return self.sampler.encoder.encode(replace(without_responses(tree.record), turns=turns, images=()))

    @torch.no_grad()
    def precision_like(self, gap: float, observed: Sequence[Observed]) -> str:
        """The precision in which the trainer would be as far from itself as the engine is; none if there is none. Two
        programs do not round alike, so only the size can be compared."""
        logps = torch.cat([each.old_logps for each in observed])
        ratios = {}
        for dtype in {torch.bfloat16, torch.float16} - {self.config.torch_dtype}:
            with self.actor.evaluating(), torch.autocast(dist.device().type, dtype):
                rounded = [self.actor(each.batch, self.config.temperature).float() for each in observed]
            ratios[name_of(dtype)] = abs(log(gap / max(mean_gap(torch.cat(rounded), logps), 1e-12)))
        nearest = min(ratios, key=ratios.get)
        return nearest if ratios[nearest] < log(ROUNDED) else ""


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
