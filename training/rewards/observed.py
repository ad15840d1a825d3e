"""What a policy and its reference say of sampled answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.rewards.sampler import Sampled
from training.utils.engine.engine import Engine
from training.utils.engine.offload import at_work
from training.utils.loop.tally import Figures
from training.utils.losses.policy import kl_k1
from training.utils.losses.responses import segment_sum
from training.utils.rollouts.gap import logps_told

# A model that takes a batch, and a temperature if it is not 1: log-probabilities of its learned tokens in nats, [N].
TokenLogps = Callable[..., Tensor]


@dataclass
class Observed(Sampled):
    """Sampled answers, R of N tokens, and what was known when they were sampled. All are fixed from then on."""

    old_logps: Tensor  # [N] of the policy that sampled
    entropy: Tensor  # [N] of that policy where it chose each token, nats
    ref_logps: Tensor  # [N]
    token_kl: Tensor  # [N] to the reference, nats
    sampled_logps: Tensor | None = field(default=None, kw_only=True)  # [N] of the engine, where it tells

    def of_answers(self, values: Tensor) -> Tensor:
        """Sums over the tokens of each answer, [N] -> [R]."""
        return segment_sum(values, self.batch.response, self.batch.num_responses)

    @property
    def kl(self) -> Tensor:
        """KL to the reference summed over each answer, nats, [R]."""
        return self.of_answers(self.token_kl)

    @property
    def measures(self) -> dict[str, Tensor]:
        """What to show of each token, by name, [N]."""
        return {"kl": self.token_kl}

    @property
    def figures(self) -> Figures:
        """What to show of the answers: score and KL of an answer, its length in tokens, whether it ended, and the
        entropy of a token; of several rewards each."""
        num, num_tokens = self.batch.num_responses, len(self.entropy)
        parts = self.parts if len(self.parts) > 1 else {}
        return {f"reward {name}": (part.sum(), num) for name, part in parts.items()} | {
            "entropy": (self.entropy.sum(), num_tokens),
            "reward": (self.scores.sum(), num),
            "kl": (self.kl.sum(), num),
            "response_len": (num_tokens, num),
            "ended": (self.batch.ended.sum(), num),
        }


@torch.no_grad()
def observe(
    sampled: Sequence[Sampled],
    policy: Engine,
    reference: TokenLogps,
    temperature: float,
    estimator: Callable[[Tensor, Tensor], Tensor] = kl_k1,
) -> list[Observed]:
    """What both say of the answers of each micro-batch: one model after the other, since those that rest come to the
    device for it.

    Args:
        estimator: of the KL of a token.
    """
    batches = [each.batch for each in sampled]
    with policy.evaluating():
        with policy.working():
            told = [policy(batch, temperature, with_entropy=True) for batch in batches]
        with at_work(reference):
            ref_logps = [reference(batch, temperature) for batch in batches]
    return [
        Observed(
            **vars(each),
            old_logps=logps,
            entropy=entropy,
            ref_logps=of_reference,
            token_kl=estimator(logps, of_reference),
            sampled_logps=logps_told(each.trees, each.batch),
        )
        for each, (logps, entropy), of_reference in zip(sampled, told, ref_logps, strict=True)
    ]
