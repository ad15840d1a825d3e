"""Rows of trees as tensors: what `tree.py` collates and models read.

Notation: B rows, T tokens of a row, P prompts, R responses, N learned tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from .tree_mask import all_pairs, in_blocks


@dataclass
class Batch:
    """Rows of trees, and their learned tokens as a flat list.

    A learned token is one that the policy produced: all response tokens, and earlier assistant turns. Flat
    lists need no padding, whatever the number and length of responses. Indices count over rows: B * T.
    """

    ids: list[str]  # [P] record ids
    input_ids: Tensor  # [B, T]
    position_ids: Tensor  # [B, T]
    branch: Tensor  # [B, T] response within the tree, -1 in the prompt
    tree: Tensor  # [B, T] tree within the row, -1 on padding
    label_ids: Tensor  # [N] the learned tokens
    predictor: Tensor  # [N] index of the token that predicts it
    response: Tensor  # [N] which response, 0..R-1; -1 for an earlier assistant turn
    prompt_of_response: Tensor  # [R] 0..P-1
    last_token: Tensor  # [R] index of the response's last token
    lengths: Tensor  # [R] tokens of the response
    ended: Tensor  # [R] bool: the response has its end of turn
    scores: Tensor  # [R] as the records give them; NaN where they give none
    ref_logps: Tensor  # [R] under a reference, nats; NaN where they are not known yet
    kind: Tensor  # [R] `Kind`
    aspect: Tensor  # [R] that its record ranks by; -1: all in all
    vision: dict[str, Tensor]  # images in the order of their tokens
    is_causal: bool  # every row is one tree with at most one response: the plain causal mask is right
    causal_len: int  # tokens that every row begins with for which it is right in any case: a prompt
    pad_left: bool = False
    _on_cpu: "Batch | None" = None

    @property
    def num_responses(self) -> int:
        return len(self.last_token)

    @property
    def num_prompts(self) -> int:
        return len(self.ids)

    @property
    def num_learned(self) -> int:
        return len(self.label_ids)

    @property
    def num_tokens(self) -> int:
        return int((self.on_cpu.tree >= 0).sum())

    @property
    def num_places(self) -> int:
        """Tokens and padding."""
        return self.input_ids.numel()

    @property
    def on_cpu(self) -> "Batch":
        """The batch as it was collated: what is worked out from it costs no wait for the device."""
        return self._on_cpu or self

    @cached_property
    def attention_mask(self) -> Tensor | None:
        """True where a token may be attended to: [B, T] if causal order says the rest, else [B, 1, T, T].

        None where causal order says all: what is padded on the right is later than every token.
        """
        if self.is_causal:
            return self.is_token if self.pad_left else None
        mask = all_pairs(self.tree, self.branch)[:, None]
        # For tree_attention.py: transformers hands layers the mask as it is.
        mask.causal_len = self.causal_len
        return mask

    @cached_property
    def block_mask(self) -> BlockMask:
        """The same for FlexAttention, where causal order does not say all."""
        return in_blocks(self.on_cpu.tree, self.on_cpu.branch, self.tree.device)

    @property
    def is_token(self) -> Tensor:
        """False on padding, [B, T]."""
        return self.tree >= 0

    def to(self, device: torch.device | str) -> "Batch":
        moved = self._with_tensors(lambda tensor: tensor.to(device, non_blocking=True), _on_cpu=self.on_cpu)
        known = self.on_cpu.input_ids
        if moved.input_ids is not known:
            # For model/placeholders.py: transformers hands token ids on as they are.
            moved.input_ids.on_cpu = known
        return moved

    def with_pixels_in(self, dtype: torch.dtype) -> "Batch":
        """The batch with the numbers of its pictures in a precision."""
        vision = {name: t.to(dtype) if t.is_floating_point() else t for name, t in self.vision.items()}
        return replace(self, vision=vision)

    def pin_memory(self) -> "Batch":
        """The same in memory that a device can read while the process goes on; a DataLoader asks for it."""
        return self._with_tensors(Tensor.pin_memory)

    def _with_tensors(self, change: Callable[[Tensor], Tensor], **others: object) -> "Batch":
        """The batch with each of its tensors changed."""
        changed = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                changed[item.name] = change(value)
            elif isinstance(value, dict):
                changed[item.name] = {name: change(tensor) for name, tensor in value.items()}
        return replace(self, **changed, **others)
