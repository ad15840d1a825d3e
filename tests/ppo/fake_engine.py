"""An engine beside the trainer, as vLLM is: a copy of the policy that samples by itself, and may have a fault."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from training.utils.data.loader import Collator
from training.utils.data.tree import Tree
from training.utils.model.generate import generate
from training.utils.model.policy import Policy
from training.utils.rollouts.rollout_engine import Answers


def rounded(values: Tensor) -> Tensor:
    return values.bfloat16().float()


class FakeEngine:
    """Like a real one it says what it read, and its own log-probabilities of what it sampled, before top-p.

    Args:
        fault: top-p, truncated prompt, swapped pictures, another dtype, stale weights, late weights; or none.
        beside: what it adds to its log-probabilities, nats.
    """

    def __init__(self, policy: Policy, encoder, fault: str = "", beside: float = 0.0) -> None:
        self.policy, self.encoder, self.fault, self.beside = policy, encoder, fault, beside
        self.held = self.copied()
        self.wakes = 0

    def copied(self) -> Policy:
        held = deepcopy(self.policy).requires_grad_(False).eval()
        if self.fault == "another dtype":
            for module in held.modules():
                if isinstance(module, nn.Linear):
                    module.weight.data = rounded(module.weight.data)
                    module.register_forward_hook(lambda _, inputs, output: rounded(output))
        return held

    @contextmanager
    def awake(self) -> Iterator[None]:
        self.wakes += 1
        if self.fault != "stale weights" and not (self.fault == "late weights" and self.wakes == 1):
            self.held = self.copied()
        yield

    def seen(self, prompts: Sequence[Tree]) -> list[Tree]:
        """The prompts as the engine reads them."""
        if self.fault == "truncated prompt":
            return [replace(tree, prompt_ids=tree.prompt_ids[:-2]) for tree in prompts]
        if self.fault == "swapped pictures":
            return [
                replace(tree, vision=other.vision)
                for tree, other in zip(prompts, [*prompts[1:], prompts[0]], strict=True)
            ]
        return list(prompts)

    @torch.no_grad()
    def respond(self, prompts, sampling, num_samples, seeds) -> list[Answers]:
        seen = self.seen(prompts)
        how = replace(sampling, top_p=0.5) if self.fault == "top-p" else sampling
        ids = generate(self.held, seen, how, num_samples, seeds, self.encoder.tokenizer.pad_token_id)
        trees = [
            replace(tree, prompt_learned=[False] * len(tree.prompt_ids)).with_responses(texts, set())
            for tree, texts in zip(seen, ids, strict=True)
        ]
        batch = Collator(self.encoder, has_images=False)(trees)
        logps = iter(self.held(batch, sampling.temperature).tolist())
        return [
            Answers(tree.prompt_ids, texts, [[next(logps) + self.beside for _ in text] for text in texts])
            for tree, texts in zip(seen, ids, strict=True)
        ]
