"""Sampling: the prompt and its images are computed once for all samples, and finished samples stop costing."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from ..data.tree import Tree, collate
from .policy import Policy

COMPACT_AT = 0.25  # share of finished rows at which they are taken out of the cache


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: what the logits are divided by; 0 is greedy.
        top_k: choose among the k likeliest tokens; 0 among all.
        top_p: choose among the likeliest tokens that hold this share of the probability together.
        stop_ids: tokens that end a response. They are kept in it.
        forbidden_ids: tokens that a response can not hold: an image placeholder or padding in it would break
            the next forward pass.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    stop_ids: tuple[int, ...] = ()
    forbidden_ids: tuple[int, ...] = ()

    def choose(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Next tokens, [B], from logits [B, V]."""
        logits = logits.float()
        # Mllama's image token has no logit at all.
        logits[:, [i for i in self.forbidden_ids if i < logits.shape[-1]]] = -torch.inf
        if self.temperature == 0:
            return logits.argmax(-1)
        logits = logits / self.temperature
        if 0 < self.top_k < logits.shape[-1]:
            logits = logits.masked_fill(logits < logits.topk(self.top_k).values[:, -1:], -torch.inf)
        if self.top_p < 1:
            ordered, order = logits.sort(descending=True)
            probabilities = ordered.softmax(-1)
            beyond = probabilities.cumsum(-1) - probabilities >= self.top_p  # never the first
            logits = logits.masked_fill(beyond.scatter(-1, order, beyond), -torch.inf)
        return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


@torch.no_grad()
def generate(
    policy: Policy,
    prompts: Sequence[Tree],
    sampling: Sampling,
    num_samples: int = 1,
    generator: torch.Generator | None = None,
    pad_id: int = 0,
) -> list[list[list[int]]]:
    """Token ids of `num_samples` responses for each prompt, end of turn included where it was reached.

    Notation: P prompts, S rows that are still written, T tokens of the longest prompt, V vocabulary.
    """
    model, family = policy.model, policy.family
    device = model.lm_head.weight.device
    batch = collate([[prompt] for prompt in prompts], pad_id, family.stack_vision, pad_left=True).to(device)
    inputs = family.inputs(model, batch)
    cache = DynamicCache(config=model.config.get_text_config())
    logits = model.lm_head(family.cached_hidden_states(model, inputs, cache)[:, -1])  # [P, V]

    cache.batch_repeat_interleave(num_samples)
    logits = logits.repeat_interleave(num_samples, 0)  # [S, V]
    position = inputs["position_ids"][..., -1:].repeat_interleave(num_samples, -2)  # [..., S, 1]
    carried = {"attention_mask": inputs["attention_mask"], **family.carried(inputs)}
    carried = {name: tensor.repeat_interleave(num_samples, 0) for name, tensor in carried.items()}
    stops = torch.tensor(sampling.stop_ids, device=device)
    responses: list[list[int]] = [[] for _ in range(len(logits))]
    rows = torch.arange(len(logits), device=device)  # which response each row of the cache writes
    done = torch.zeros(len(logits), dtype=torch.bool, device=device)
    for step in range(sampling.max_new_tokens):
        tokens = sampling.choose(logits, generator)  # [S]
        for row, token, finished in zip(rows.tolist(), tokens.tolist(), done.tolist(), strict=True):
            if not finished:
                responses[row].append(token)
        done = done | torch.isin(tokens, stops)
        num_done = int(done.sum())
        if num_done == len(done) or step + 1 == sampling.max_new_tokens:
            break
        if num_done >= COMPACT_AT * len(done):
            keep = (~done).nonzero()[:, 0]
            cache.batch_select_indices(keep)
            tokens, rows, done = tokens[keep], rows[keep], done[keep]
            position = position.index_select(-2, keep)
            carried = {name: tensor[keep] for name, tensor in carried.items()}
        mask = carried["attention_mask"]
        carried["attention_mask"] = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        position = position + 1
        following = {"input_ids": tokens[:, None], "position_ids": position, **carried}
        logits = model.lm_head(family.cached_hidden_states(model, following, cache)[:, -1])
    return [responses[p * num_samples : (p + 1) * num_samples] for p in range(len(prompts))]
