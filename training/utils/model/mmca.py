"""Multi-modal causal attention (DeepSpeed-VisualChat, arXiv 2309.14327), by the name "mmca" in transformers.

    attends to        <s>  [img]  [img]  what   ?
    the second [img]                x                itself alone
    ?                  x                   x    x    the text so far, its own token included: one softmax
    ?                        x      x                the images so far: another; the two results are added

A model loaded with `attn_implementation="mmca"` wants the keyword `is_image` in every forward, also in the steps
of cached generation. (`generate` of transformers does not accept it; ours passes what a family gives it.)
The keys must be those of all tokens so far, as a `DynamicCache` keeps them, not a `StaticCache`.
What each softmax is over is a rule; that of Vision-LLM-Alignment's checkpoints is in `legacy_mmca.py`.

Notation: B rows, H heads, T queries, S keys, P tokens of the prompt.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# What may be attended to [B or 1, 1, T, S] and which of the P tokens are of images [B, P] -> of each softmax the keys
# that it is over [B, 1, T, S], and the weights of the values for queries that have none; None: they get exactly 0.
Rule = Callable[[Tensor, Tensor], Iterator[tuple[Tensor, Tensor | None]]]


class MultiModalAttention:
    """Attention by several softmaxes whose results are added, registered with transformers by its name.

    Each costs a call with a boolean mask, so together twice as much as plain attention.
    """

    def __init__(self, name: str, softmaxes: Rule) -> None:
        self.name, self._softmaxes = name, softmaxes
        AttentionInterface.register(name, self)
        AttentionMaskInterface.register(name, _whole_mask)

    def __call__(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float,
        dropout: float = 0.0,
        is_image: Tensor | None = None,
        **kwargs,
    ) -> tuple[Tensor, None]:
        """Attention of the last T of S tokens to all S.

        Args:
            query: [B, H, T, head size]
            key, value: [B, H or a part of it, S, head size]
            attention_mask: [B, 1, T, S], True (or 0, if it is one to add) where a token may be attended to. Other
                numbers to add, as position biases are, mean that it may not. Without a mask: causal order.
            is_image: [B, P] bool; keys behind P are text. None: plain attention, as for text and vision towers.

        Returns: [B, T, H, head size], and None for the weights.
        """
        if is_image is None:
            return sdpa_attention_forward(
                module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
            )
        groups = query.shape[1] // key.shape[1]
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
        may = _may_attend(attention_mask, query.shape[2], key.shape[2], query.device)
        output = sum(
            _attend(query, key, value, allowed, instead, scaling, dropout)
            for allowed, instead in self._softmaxes(may, is_image.to(query.device))
        )
        return output.transpose(1, 2).contiguous(), None


def _may_attend(mask: Tensor | None, num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    """Any mask as booleans, [B or 1, 1, T, S]."""
    if mask is None:
        everything = torch.ones(1, 1, num_queries, num_keys, dtype=torch.bool, device=device)
        return everything.tril(num_keys - num_queries)
    return mask if mask.dtype == torch.bool else mask == 0


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allowed: Tensor,
    instead: Tensor | None,
    scaling: float,
    dropout: float,
) -> Tensor:
    """Attention to the allowed keys, [B, H, T, head size]; a query that has none gets the values by other weights."""
    has_any = allowed.any(-1, keepdim=True)
    # A softmax over nothing is NaN, or uniform over everything, the future included; kernels differ. Such a query
    # gets all keys, which keeps gradients finite, and then none of the result.
    output = scaled_dot_product_attention(
        query, key, value, attn_mask=allowed | ~has_any, dropout_p=dropout, scale=scaling
    )
    if instead is None:
        return output.masked_fill(~has_any, 0)
    return torch.where(has_any, output, instead.to(value.dtype) @ value)


def _whole_mask(**kwargs) -> Tensor | None:
    """The mask that layers get, [B, 1, T, S]: also the plain causal one, which each softmax needs a part of."""
    return sdpa_mask(**{**kwargs, "allow_is_causal_skip": False})


def kinds(may: Tensor, is_image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether a key is of an image [B, 1, 1, S], a query of text [B, 1, T, 1], and a key the query itself [T, S]."""
    num_queries, num_keys = may.shape[-2:]
    key_is_image = pad(is_image, (0, num_keys - is_image.shape[1]))[:, None, None, :]
    query_is_text = ~key_is_image[..., num_keys - num_queries :].transpose(-1, -2)
    itself = torch.ones_like(may[0, 0]).triu(num_keys - num_queries).tril(num_keys - num_queries)
    return key_is_image, query_is_text, itself


def _of_the_paper(may: Tensor, is_image: Tensor) -> Iterator[tuple[Tensor, None]]:
    key_is_image, query_is_text, itself = kinds(may, is_image)
    yield may & ~key_is_image & query_is_text, None
    yield may & key_is_image & (query_is_text | itself), None


mmca_attention = MultiModalAttention("mmca", _of_the_paper)
