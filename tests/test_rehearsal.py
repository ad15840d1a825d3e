"""What a step may ask of a GPU: budgets of waits and kernels, on models of few layers and of published widths."""

import pytest
import torch
from torch.utils._device import _device_constructors

from scripts.rehearsal.device import fake_device
from scripts.rehearsal.stages import Rehearsal
from scripts.rehearsal.without_cuda import CUDA

MAX_SYNCS = 3  # of a micro-batch


def test_the_device_counts_what_is_known_by_hand():
    with fake_device() as device:
        weight = torch.zeros(8, 16, device=CUDA, requires_grad=True)
        given = torch.arange(3).to(CUDA)
        with device.counting() as forward:
            product = torch.zeros(4, 8, device=CUDA) @ weight
        with device.counting() as reads:
            assert given.tolist() == [0, 1, 2]
            assert given[given > 0].shape == (2,)
            assert product.view(16, 4).t().shape == (4, 16)
            float(product.sum())
        with device.counting() as backward:
            product.sum().backward()
        assert weight.grad.device == CUDA
    assert forward.flops == 2 * 4 * 8 * 16
    assert forward.kernels == 2  # zeros, product
    assert forward.bytes == 4 * (4 * 8 + 4 * 8 + 8 * 16 + 4 * 16)
    assert forward.peak == 3 * 8 + 4 * (4 * 8 + 8 * 16 + 4 * 16)
    assert reads.syncs == 3  # tolist, an index of truth values, float
    assert backward.flops == forward.flops  # of the weight alone: zeros have no gradient


def test_a_rehearsal_leaves_torch_as_it_was():
    """Else what is loaded later in the process has values that nobody set."""
    _device_constructors.cache_clear()
    with fake_device(), torch.device("meta"):
        torch.zeros(1)
    with torch.device("meta"):
        assert torch.tensor([1]).is_meta


@pytest.fixture
def rehearsal():
    with Rehearsal("llava-1.5", "7b", num_layers=2) as made:
        yield made


@pytest.mark.parametrize("stage", ["sft", "rm", "dpo"])
def test_a_micro_batch_hardly_ever_waits(rehearsal, stage):
    counts = rehearsal.count(stage)[stage]
    assert counts.syncs <= MAX_SYNCS, counts.places


@pytest.mark.parametrize(
    "family, size, stage", [("qwen2.5-vl", "7b", "sft"), ("llama-3.2-vision", "11b", "dpo")]
)
def test_towers_of_other_shapes_hardly_ever_make_it_wait(family, size, stage):
    with Rehearsal(family, size, num_layers=1) as rehearsal:
        counts = rehearsal.count(stage)[stage]
    assert counts.syncs <= MAX_SYNCS, counts.places


def test_generation_waits_once_a_token(rehearsal):
    counted = rehearsal.count("generate")
    assert counted["one token"].syncs <= 1, counted["one token"].places
    assert counted["prefill"].syncs <= 10, counted["prefill"].places
