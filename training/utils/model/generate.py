"""Sampling on trees: the samples of a prompt are branches of one row, as in training.

The prompt with its images is computed once and its keys are read once for all samples, and finished samples stop
costing.

    keys      <s> USER: [img] what ? ASSISTANT: | a   two  a   | cat dogs dog | ...
    sample    (all)                             | 0   1    2   | 0   1    2   |

Notation: P prompts, R rows that are still written, W samples of a row that are still written, S keys so far,
V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from ..data.tree import Batch, Tree, collate
from .cache import growing_cache
from .policy import Policy

MAX_SAMPLES_OF_ROW = 8  # a sample's keys are read, and masked, by the others of its row
COMPACT_AT = 0.25  # share of finished samples at which they are taken out
NOBODY, EVERYBODY = -1, -2  # in place of a sample


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
        num_tokens: ids from here on are no tokens and can not be chosen: embeddings are often padded to more rows
            than the tokenizer has tokens. None: all ids are tokens.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    stop_ids: tuple[int, ...] = ()
    forbidden_ids: tuple[int, ...] = ()
    num_tokens: int | None = None

    def allowed(self, logits: Tensor) -> Tensor:
        """Logits or log-probabilities [B, V], those of tokens that a response can not hold at minus infinity."""
        forbidden = _places(self.forbidden_ids, self.num_tokens, logits.shape[-1], logits.device)
        return logits.float().index_fill(-1, forbidden, -torch.inf)

    def choose(self, logits: Tensor, chances: Tensor | None) -> Tensor:
        """Next tokens, [B], from logits [B, V].

        Args:
            chances: random numbers below 1 that decide, fp64, [B]; none: drawn here.
        """
        logits = self.allowed(logits)
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
        if chances is None:
            chances = torch.rand(len(logits), device=logits.device)
        sums = logits.double().softmax(-1).cumsum(-1)
        # The first token whose sum is above: one without probability never is.
        return torch.searchsorted(sums, chances[:, None] * sums[:, -1:], right=True)[:, 0]


def random_chances(seeds: Sequence[int], num_samples: int, length: int, device: torch.device) -> Tensor:
    """Random numbers for each token of each sample, [P * num_samples, length]: a prompt's own, whatever other prompts
    are answered with it."""
    drawn = [
        torch.randint(1 << 48, (num_samples, length), generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    return torch.cat(drawn).double().to(device) / (1 << 48)


@lru_cache(16)
def _places(forbidden: tuple[int, ...], num_tokens: int | None, rows: int, device: torch.device) -> Tensor:
    """Which of so many logits can not be chosen. (Mllama's image token has none.)"""
    beyond = range(rows if num_tokens is None else num_tokens, rows)
    return torch.tensor([i for i in {*forbidden, *beyond} if i < rows], device=device, dtype=torch.long)


def prefill(
    policy: Policy, prompts: Sequence[Tree], pad_id: int
) -> tuple[Batch, dict[str, Tensor], DynamicCache, Tensor]:
    """The prompts as a batch and as inputs, their keys and values, and logits of the next token [P, V]."""
    model, family = policy.model, policy.family
    batch = collate([[prompt] for prompt in prompts], pad_id, family.stack_vision, pad_left=True)
    batch = batch.with_pixels_in(model.dtype).to(model.lm_head.weight.device)
    inputs = family.inputs(model, batch)
    cache = growing_cache(model.config)
    logits = model.lm_head(family.cached_hidden_states(model, inputs, cache)[:, -1])
    return batch, inputs, cache, logits


@torch.no_grad()
def generate(
    policy: Policy,
    prompts: Sequence[Tree],
    sampling: Sampling,
    num_samples: int = 1,
    seeds: Sequence[int] | None = None,
    pad_id: int = 0,
) -> list[list[list[int]]]:
    """Token ids of `num_samples` responses for each prompt, end of turn included where it was reached.

    Args:
        seeds: of each prompt: then it gets the same responses whatever it is answered together with; none: the
            process's random numbers decide.
    """
    model, family = policy.model, policy.family
    batch, inputs, cache, logits = prefill(policy, prompts, pad_id)
    device = logits.device

    # Each prompt's samples side by side, over as many rows as they need.
    copies = ceil(num_samples / (MAX_SAMPLES_OF_ROW if family.takes_trees else 1))
    # Known to the process: what it is told of a step's tokens is all that it waits for.
    sample = _layout(len(prompts), num_samples, copies)  # [R, W]
    if copies > 1:
        cache.batch_repeat_interleave(copies)
    position = inputs["position_ids"][..., -1:].repeat_interleave(copies, -2)  # [..., R, 1]
    owner = torch.where(batch.tree >= 0, EVERYBODY, NOBODY).repeat_interleave(copies, 0)  # [R, S] of each key
    carried = {name: t.repeat_interleave(copies, 0) for name, t in family.carried(inputs).items()}
    logits = logits.repeat_interleave(copies, 0)[:, None].expand(-1, sample.shape[1], -1)  # [R, W, V]

    chances = seeds and random_chances(seeds, num_samples, sampling.max_new_tokens, device)
    stops = torch.tensor(sampling.stop_ids)
    column = sample.to(device, non_blocking=True)
    responses: list[list[int]] = [[] for _ in range(len(prompts) * num_samples)]
    for step in range(sampling.max_new_tokens):
        chance = None if chances is None else chances[column.flatten().clamp(min=0), step]
        tokens = sampling.choose(logits.flatten(0, 1), chance).view_as(column)
        told = tokens.cpu()
        for number, token in zip(sample.flatten().tolist(), told.flatten().tolist(), strict=True):
            if number != NOBODY:
                responses[number].append(token)
        sample = sample.masked_fill(torch.isin(told, stops), NOBODY)
        alive = (sample != NOBODY).sum(-1)  # [R]
        num_rows, num_columns = int((alive > 0).sum()), int(alive.max())
        if num_columns == 0 or step + 1 == sampling.max_new_tokens:
            break
        if num_rows * num_columns <= (1 - COMPACT_AT) * sample.numel():
            keep = alive.nonzero()[:, 0]
            if len(keep) < len(alive):
                sample, kept = sample[keep], keep.to(device, non_blocking=True)
                cache.batch_select_indices(kept)
                tokens, owner = tokens[kept], owner[kept]
                position = position.index_select(-2, kept)
                carried = {name: tensor[kept] for name, tensor in carried.items()}
            living_first = (sample == NOBODY).int().argsort(dim=-1, stable=True)[:, :num_columns]
            sample = sample.gather(1, living_first)
            tokens = tokens.gather(1, living_first.to(device, non_blocking=True))
        column = sample.to(device, non_blocking=True)
        owner = torch.cat([owner, column], dim=1)
        position = position + 1
        following = {
            "input_ids": tokens,
            "position_ids": position.expand(*position.shape[:-1], sample.shape[1]),
            "attention_mask": _attention_mask(owner, column),
            **carried,
        }
        logits = model.lm_head(family.cached_hidden_states(model, following, cache))
    return [responses[p * num_samples : (p + 1) * num_samples] for p in range(len(prompts))]


def _layout(num_prompts: int, num_samples: int, copies: int) -> Tensor:
    """The number of the sample that stands in each row and column, [R, W]; NOBODY where none is left."""
    numbers = torch.arange(num_prompts * num_samples).view(num_prompts, num_samples)
    width = ceil(num_samples / copies)
    return pad(numbers, (0, copies * width - num_samples), value=NOBODY).view(-1, width)


def _attention_mask(owner: Tensor, sample: Tensor) -> Tensor:
    """Each sample attends to the prompt and to its own tokens: [R, S] for one sample a row, else [R, 1, W, S].

    Args:
        owner: whose each key is, [R, S]; EVERYBODY in the prompt, NOBODY on padding.
        sample: [R, W]. What NOBODY attends to does not matter, as long as it is something.
    """
    mask = (owner == EVERYBODY)[:, None] | (owner[:, None] == sample[:, :, None])  # [R, W, S]
    return mask[:, 0] if sample.shape[1] == 1 else mask[:, None]
