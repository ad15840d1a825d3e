"""Log-probabilities of chosen tokens, without the logits of a whole batch in memory."""

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
        logits = lm_head(h).float()  # [n, V]
        if temperature != 1:
            logits = logits / temperature
        return -cross_entropy(logits, labels, reduction="none")

    # One chunk at least: under ZeRO-3 every rank must call lm_head, whatever its number of tokens.
    pieces = list(zip(hidden.split(chunk_len), label_ids.split(chunk_len), strict=True))
    chunks = [checkpoint(chunk_logps, h, labels, use_reentrant=False) for h, labels in pieces[:-1]]
    # The backward pass begins with the last chunk: its logits may as well be kept.
    return torch.cat([*chunks, chunk_logps(*pieces[-1])])
