"""Qwen2.5-VL (arXiv 2502.13923) and Qwen3-VL: images of any size, and positions in three dimensions.

Notation: B rows, T tokens of a row, P prompts, L tokens of the longest prompt.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..data.tree import IN_PROMPT, Batch
from .family import Family


class QwenVL(Family):
    model_types = ("qwen2_5_vl", "qwen3_vl")

    def image_text(self, processor) -> str:
        return f"<|vision_start|>{self.marker(processor)}<|vision_end|>"

    def inputs(self, model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        return super().inputs(model, batch) | {"position_ids": tree_positions(model, batch)}


def tree_positions(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Positions by time, height and width, [3, B, T]: a prompt as the model counts it, then each response from
    the prompt's last position on."""
    in_prompt = (batch.tree >= 0) & (batch.branch == IN_PROMPT)
    row, place = in_prompt.nonzero(as_tuple=True)  # of all prompt tokens, prompt after prompt
    prompt_key = row * (batch.tree.shape[1] + 1) + batch.tree[row, place]
    _, prompt, lengths = prompt_key.unique_consecutive(return_inverse=True, return_counts=True)
    at = torch.arange(len(row), device=row.device) - (lengths.cumsum(0) - lengths)[prompt]
    ids = batch.input_ids.new_zeros(len(lengths), int(lengths.max()))  # [P, L]
    ids[prompt, at] = batch.input_ids[row, place]
    on = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    positions, _ = model.model.get_rope_index(
        ids,
        mm_token_type_ids=(ids == model.config.image_token_id).int(),
        image_grid_thw=batch.vision.get("image_grid_thw"),
        attention_mask=on.long(),
    )  # [3, P, L]
    next_position = positions.masked_fill(~on, -1).amax((0, 2)) + 1  # [P]

    # For response tokens: where their own prompt ends, and how far they are behind it.
    prompt_of_tree = batch.tree.new_zeros(len(batch.tree), int(batch.tree.max()) + 1)
    prompt_of_tree[row, batch.tree[row, place]] = prompt
    of_prompt = prompt_of_tree.gather(1, batch.tree.clamp(min=0))  # [B, T]
    behind = next_position[of_prompt] + batch.position_ids - lengths[of_prompt]
    out = behind.masked_fill(batch.tree < 0, 0).expand(3, -1, -1).clone()
    out[:, row, place] = positions[:, prompt, at]
    return out
