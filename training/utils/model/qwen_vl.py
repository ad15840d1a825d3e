"""Qwen2-VL (arXiv 2409.12191), Qwen2.5-VL (arXiv 2502.13923), Qwen3-VL, dense and mixtures of experts: images of any
size, and positions in three dimensions.

Notation: B rows, T tokens of a row, P prompts, L tokens of the longest prompt.
"""

import copy

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ..data.tree import IN_PROMPT, Batch
from .family import Family
from .grids import work_out_grids_on_the_cpu
from .tower import FrozenTower


class QwenVL(Family):
    model_types = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
    read_as_numbers = ("image_grid_thw",)

    def freeze(self, model: PreTrainedModel, vision: bool, language: bool) -> None:
        work_out_grids_on_the_cpu(self.tower(model))
        super().freeze(model, vision, language)

    def image_text(self, processor) -> str:
        return f"<|vision_start|>{self.marker(processor)}<|vision_end|>"

    def frozen_tower(self, tower: nn.Module, config: PretrainedConfig) -> nn.Module:
        return FrozenVisual(tower, patches_merged=tower.spatial_merge_size**2)

    def inputs(self, model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        return super().inputs(model, batch) | {"position_ids": tree_positions(model, batch)}


class FrozenVisual(nn.Module):
    """A vision tower, frozen, behind its mergers: those are the projector and stay part of the model.

    Args:
        patches_merged: how many states of the tower its merger makes one of.
    """

    def __init__(self, visual: nn.Module, patches_merged: int) -> None:
        super().__init__()
        self.patches_merged = patches_merged
        self.merger = visual.merger
        groups: dict[str, nn.Module] = {"merger": GroupPatches(patches_merged)}
        if hasattr(visual, "deepstack_merger_list"):
            self.deepstack_merger_list = visual.deepstack_merger_list
            groups["deepstack_merger_list"] = nn.ModuleList(
                GroupPatches(patches_merged) for _ in self.deepstack_merger_list
            )
        self.trunk = FrozenTower(_with_parts(visual, groups))

    def whole(self) -> nn.Module:
        return _with_parts(self.trunk.tower, {n: part for n, part in self._modules.items() if n != "trunk"})

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.trunk.tower, name)  # the model asks its tower for dtype and merge size

    def forward(self, pixel_values: Tensor, *args, **kwargs):
        out = self.trunk(pixel_values, *args, **kwargs)
        size = out.pooler_output.shape[-1] // self.patches_merged
        out.pooler_output = self.merger(out.pooler_output.reshape(-1, size))
        if "deepstack_merger_list" in self._modules:
            out.deepstack_features = [
                merge(grouped.reshape(-1, size))
                for merge, grouped in zip(self.deepstack_merger_list, out.deepstack_features, strict=True)
            ]
        return out


class GroupPatches(nn.Module):
    """Stands where a merger was: the patches that it would merge, side by side."""

    def __init__(self, patches_merged: int) -> None:
        super().__init__()
        self.patches_merged = patches_merged

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.reshape(-1, self.patches_merged * hidden.shape[-1])


def _with_parts(module: nn.Module, parts: dict[str, nn.Module]) -> nn.Module:
    """The same module with some of its parts exchanged."""
    other = copy.copy(module)
    other._modules = module._modules | parts
    return other


def tree_positions(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Positions by time, height and width, [3, B, T]: a prompt as the model counts it, then each response from
    the prompt's last position on. Worked out where the batch was made: nothing here waits for the device."""
    device, batch = batch.input_ids.device, batch.on_cpu
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
    return out.to(device)
