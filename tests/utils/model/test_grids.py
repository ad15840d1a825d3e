"""Towers that keep a picture's shape: sizes of pictures on the CPU, and not one read of the device for them."""

import pytest
import torch

from scripts.rehearsal.device import fake_device
from scripts.rehearsal.without_cuda import CUDA
from tests.tiny_families import BUILDERS
from training.utils.model.grids import work_out_grids_on_the_cpu

GRID = torch.tensor([[1, 4, 6], [1, 10, 4]])  # windows of Qwen2.5-VL are 2 x 2 patches that are merged 2 x 2
NAMES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v")


def pixels(count: int) -> torch.Tensor:
    return torch.randn(count, 3 * 2 * 8 * 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_a_tower_says_what_it_says_in_transformers(name):
    model, _ = BUILDERS[name][0]()
    tower, patches = model.model.visual, pixels(int(GRID.prod(1).sum()))
    with torch.no_grad():
        expected = tower(patches, grid_thw=GRID).pooler_output
        work_out_grids_on_the_cpu(tower)
        found = tower(patches, grid_thw=GRID).pooler_output
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_tower_never_waits_for_sizes(name):
    """With parts on two devices: operations that mix them are errors."""
    with fake_device() as device:
        with torch.device(CUDA):
            model, _ = BUILDERS[name][0]()
            patches = torch.zeros(int(GRID.prod(1).sum()), 3 * 2 * 8 * 8, dtype=torch.bfloat16)
        patches.known = None  # nobody knows what a picture shows
        tower = model.to(torch.bfloat16).model.visual
        work_out_grids_on_the_cpu(tower)
        with torch.no_grad():
            tower(patches, grid_thw=GRID)
            with device.counting() as counts:
                tower(patches, grid_thw=GRID)
    # GLM-4V's layers read lengths that it needs on the device as well.
    assert counts.syncs == 0 or name == "glm4v", counts.places
