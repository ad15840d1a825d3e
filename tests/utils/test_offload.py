"""CPU memory in place of the device's: models that rest, and activations that wait for the backward pass."""

import pytest
import torch

from tests.conftest import RECORDS
from tests.utils.test_engine import build_engine, settings
from training.utils.config.stage_config import SFTConfig
from training.utils.data.loader import Collator
from training.utils.engine import engine as engine_module
from training.utils.engine.engine import Engine
from training.utils.engine.offload import Resting, activations_on_cpu, at_work
from training.utils.engine.rest import Rest, part_sizes
from training.utils.model.build_model import build_policy, get_family
from training.utils.model.family import Family
from training.utils.process import dist


@pytest.fixture
def linear():
    return torch.nn.Linear(3, 2)


def sizes(module):
    return [parameter.untyped_storage().nbytes() for parameter in module.parameters()]


def test_a_model_is_on_the_device_only_while_it_works(linear):
    given = torch.randn(4, 3)
    expected, there = linear(given), sizes(linear)
    assert there == [4 * 6, 4 * 2]
    resting = Resting(linear)
    assert sizes(linear) == [0, 0]
    with at_work(resting, torch.nn.Linear(1, 1)):
        assert sizes(linear) == there
        places = [parameter.data_ptr() for parameter in linear.parameters()]
        assert torch.equal(resting(given), expected) and torch.equal(resting(given), expected)
        assert places == [parameter.data_ptr() for parameter in linear.parameters()]
    assert sizes(linear) == [0, 0]
    assert torch.equal(resting(given), expected)
    assert sizes(linear) == [0, 0]
    assert not any(parameter.requires_grad for parameter in resting.parameters())


def test_a_model_that_fails_rests_again(linear):
    resting = Resting(linear)
    with pytest.raises(RuntimeError, match="shapes"):
        resting(torch.randn(4, 5))
    assert sizes(linear) == [0, 0] and not resting.rest.works


def test_what_comes_back_has_the_same_views_and_the_newest_values():
    """Weights of one flat tensor, of which another one is no part."""
    flat, fixed, number = torch.arange(6.0), torch.ones(2), torch.tensor(3.0)
    first, second = flat[:2].view(1, 2), flat[2:]
    rest = Rest(lambda: [(first, True), (second, True), (fixed, False), (number, True)])
    for times in (1, 2):
        rest.leave()
        assert not flat.untyped_storage().nbytes() and not fixed.untyped_storage().nbytes()
        assert number == 3
        with rest.working():
            assert flat.tolist() == [times - 1.0, 1, 2, 3, 4, 5] and fixed.tolist() == [1, 1]
            second.add_(0)
            first[0, 0] = times
            assert flat[0] == times and second.tolist() == [2, 3, 4, 5]
    assert len(rest.unchanging) == 1


def test_pinned_memory_is_taken_as_it_is_needed():
    """PyTorch rounds each block up to a power of two."""
    for num_bytes in (1, 2**20 - 1, 2**20, 9 * 2**30 + 5, 13_476_839_424):
        sizes = part_sizes(num_bytes)
        assert (
            sum(sizes) == num_bytes
            and sum(1 << (size - 1).bit_length() for size in sizes) < num_bytes + 2**20
        )


@pytest.mark.parametrize("zero_stage", [0, 2, 3])
def test_an_engine_that_rests_is_not_trained_by_mistake(zero_stage, tiny_llava, encoder):
    batch = Collator(encoder, True)(encoder.encode_all(RECORDS))
    config = SFTConfig(**settings(tiny_llava, zero_stage=zero_stage, precision="bf16"))
    policy = build_policy(config, tiny_llava, get_family("auto", tiny_llava))
    engine = Engine(policy, config, total_steps=2, rests=True)
    with torch.no_grad():
        expected = engine(batch)
    with engine.working():
        loss = -engine(batch).sum()
        with pytest.raises(
            RuntimeError, match=r"the engine rests; expected .* within its working\(steps=True\)"
        ):
            engine.backward(loss)
    with torch.no_grad():
        assert torch.equal(engine(batch), expected)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_the_same_bit_for_bit_from_activations_in_cpu_memory(
    checkpointing, tiny_llava, encoder, monkeypatch
):
    batch = Collator(encoder, True)(encoder.encode_all(RECORDS))
    kept, weights = [], set()

    class Copying(activations_on_cpu):
        """Keeps copies, as it does for a device."""

        def __init__(self):
            super().__init__()
            pack = self.pack_hook

            def packed(tensor):
                found = pack(tensor)
                if isinstance(found, torch.Tensor):
                    return found
                assert tensor.untyped_storage().data_ptr() not in weights
                kept.append(tensor.nbytes)
                return found[0], found[1].clone()

            self.pack_hook = packed

    monkeypatch.setattr(engine_module, "activations_on_cpu", Copying)
    gradients = []
    for offload in (False, True):
        config = SFTConfig(
            **settings(tiny_llava, gradient_checkpointing=checkpointing, offload_activations=offload)
        )
        engine = build_engine(config)
        weights |= {p.untyped_storage().data_ptr() for p in engine.module.parameters()}
        engine.backward(-engine(batch).sum())
        gradients.append({n: p.grad for n, p in engine.module.named_parameters() if p.requires_grad})
        assert bool(kept) == offload
    inputs = 2 * batch.input_ids.numel() * 48 * 4  # of two layers, fp32
    assert (sum(kept) < 20 * inputs) == checkpointing and sum(kept) > inputs
    assert all(torch.equal(gradients[0][name], found) for name, found in gradients[1].items())


@pytest.mark.parametrize("zero_stage", range(4))
def test_a_model_is_loaded_straight_to_its_device_or_into_shares(zero_stage, tiny_llava, monkeypatch):
    class Loaded(Exception):
        pass

    def load(family, path, **kwargs):
        assert kwargs.get("device_map") == (None if zero_stage == 3 else {"": torch.device("cuda", 1)})
        raise Loaded

    monkeypatch.setattr(Family, "load_model", load)
    monkeypatch.setattr(dist, "device", lambda: torch.device("cuda", 1))
    config = SFTConfig(**settings(tiny_llava, zero_stage=zero_stage))
    with pytest.raises(Loaded):
        build_policy(config, tiny_llava, get_family("auto", tiny_llava))
