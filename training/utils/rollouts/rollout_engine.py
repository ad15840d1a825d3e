"""The interface of what samples responses: `own.py` and `vllm_engine.py` implement it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..data.tree import Tree
from ..model.generate import Sampling
from ..model.policy import Policy

# Lends the policy with all its weights on this process, ready to sample from.
Lend = Callable[[], AbstractContextManager[Policy]]


@dataclass(frozen=True)
class Answers:
    """Sampled responses to a prompt.

    Attributes:
        prompt_ids: the prompt as the engine read it, images expanded.
        ids: token ids of each response, end of turn included where it was reached.
        logps: log-probability of each of these tokens in nats, at the sampling temperature and among all tokens; none
            from an engine that does not tell.
    """

    prompt_ids: list[int]
    ids: list[list[int]]
    logps: list[list[float]] | None = None


class RolloutEngine(Protocol):
    """Samples responses of the policy."""

    def awake(self) -> AbstractContextManager[None]:
        """Within it the engine answers, with the policy's weights as they are where it begins. All processes must
        call it."""

    def respond(
        self, prompts: Sequence[Tree], sampling: Sampling, num_samples: int, seeds: Sequence[int]
    ) -> list[Answers]:
        """`num_samples` responses to each prompt.

        Args:
            seeds: of each prompt, which decide its random numbers, whatever it is answered together with.
        """
