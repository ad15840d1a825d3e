"""What a vision tower works out from the sizes of its pictures, worked out on the CPU, where they are known.

A tower that keeps a picture's shape needs the place of each patch, and which patches attend to each other.
transformers reads the sizes on the device for that, and the lengths once more in every layer, and each time the
process waits; what is worked out beforehand it takes by keyword (transformers.vision_utils).
"""

from torch import Tensor, nn
from transformers import vision_utils


def work_out_grids_on_the_cpu(tower: nn.Module) -> None:
    """Lets a tower be called with `grid_thw` [I, 3] on the CPU: time, height and width of each picture in patches."""
    tower.register_forward_pre_hook(_with_grids_worked_out, with_kwargs=True)


def _with_grids_worked_out(tower: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    if "grid_thw" not in kwargs or "position_ids" in kwargs:
        return None
    grid, device = kwargs["grid_thw"], args[0].device
    places, lengths = worked_out(tower, grid)
    # The sizes too: what is left for the tower to ask of them, it asks on its device.
    there = {
        name: tensor.to(device, non_blocking=True) for name, tensor in (places | {"grid_thw": grid}).items()
    }
    return args, kwargs | there | lengths


def worked_out(tower: nn.Module, grid: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the device needs of each patch: row and column, place among windows, share of learned positions. And where
    pictures and windows end, in patches, which layers read as numbers."""
    size = tower.spatial_merge_size
    places = {"position_ids": vision_utils.get_vision_position_ids(grid, size)}
    # GLM-4V's embeddings compare them on the device, so it works them out there.
    lengths = {} if hasattr(tower, "embeddings") else {"cu_seqlens": vision_utils.get_vision_cu_seqlens(grid)}
    if hasattr(tower, "window_size"):  # Qwen2.5-VL
        places["window_index"], lengths["cu_window_seqlens"] = vision_utils.get_vision_window_index(
            grid, size, tower.window_size, tower.patch_size
        )
    if hasattr(tower, "interpolation_mode"):  # Qwen3-VL
        places["interp_indices"], places["interp_weights"] = (
            vision_utils.get_vision_interpolation_indices_and_weights(
                grid,
                num_grid_per_side=tower.num_grid_per_side,
                mode=tower.interpolation_mode,
                align_corners=tower.interpolation_align_corners,
                spatial_merge_size=size,
            )
        )
    return places, lengths
