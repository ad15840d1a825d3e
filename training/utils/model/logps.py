"""Log-probabilities of chosen tokens, without the logits of a whole batch in memory."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

CHUNK_LEN = 1024  # tokens whose logits are in memory at a time


def token_logps(
    hidden: Tensor,
    lm_head: nn.Module,
    label_ids: Tensor,
    temperature: float = 1.0,
    chunk_len: int = CHUNK_LEN,
) -> Tensor:
    """Log-probability of each label, in nats, [N].

    The logits of `chunk_len` tokens are computed at a time and computed again in the backward pass, so peak
    memory does not grow with N times the vocabulary.

    Args:
        hidden: hidden states that predict the labels, [N, D].
        label_ids: [N].
        temperature: what the logits are divided by, as in sampling.
    """

    def chunk_logps(h: Tensor, labels: Tensor) -> Tensor:
        return -cross_entropy(_logits(h, lm_head, temperature), labels, reduction="none")

    return in_chunks(chunk_logps, hidden, label_ids, chunk_len)


def token_logps_and_entropy(
    hidden: Tensor,
    lm_head: nn.Module,
    label_ids: Tensor,
    temperature: float = 1.0,
    chunk_len: int = CHUNK_LEN,
) -> tuple[Tensor, Tensor]:
    """The same, and the entropy of the distribution that each label comes from, in nats, [N] each."""

    def chunk_both(h: Tensor, labels: Tensor) -> Tensor:
        log_p = _logits(h, lm_head, temperature).log_softmax(-1)
        return torch.stack([log_p.gather(-1, labels[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)], dim=-1)

    logps, entropy = in_chunks(chunk_both, hidden, label_ids, chunk_len).unbind(-1)
    return logps, entropy


def _logits(hidden: Tensor, lm_head: nn.Module, temperature: float) -> Tensor:
    """[n, D] -> [n, V], fp32"""
    logits = lm_head(hidden).float()
    return logits if temperature == 1 else logits / temperature


def in_chunks(
    function: Callable[[Tensor, Tensor], Tensor], hidden: Tensor, beside: Tensor, chunk_len: int
) -> Tensor:
    """What a function gives for hidden states [N, D] and what belongs to each, [N, ...], some at a time; they are
    worked out again in the backward pass."""
    # One chunk at least: under ZeRO-3 every rank must call lm_head, whatever its number of tokens.
    pieces = list(zip(hidden.split(chunk_len), beside.split(chunk_len), strict=True))
    chunks = [checkpoint(function, h, labels, use_reentrant=False) for h, labels in pieces[:-1]]
    # The backward pass begins with the last chunk: its logits may as well be kept.
    return torch.cat([*chunks, function(*pieces[-1])])
