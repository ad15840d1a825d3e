"""CPU memory in place of the device's: models that rest, and activations that wait for the backward pass."""

import pytest
import torch

from tests.conftest import RECORDS
from tests.utils.test_engine import build_engine, settings
from training.utils.config.stage_config import SFTConfig
from training.utils.data.loader import Collator
from training.utils.engine import engine as engine_module
from training.utils.engine.offload import Resting, activations_on_cpu, at_work
from training.utils.model.build_model import build_policy, get_family
from training.utils.model.family import Family
from training.utils.process import dist


class Counted(Resting):
    """Its device is a copy: on a CPU there is none to go to."""

    def _arrive(self, resting):
        self.arrivals = getattr(self, "arrivals", 0) + 1
        return resting.clone()


@pytest.fixture
def linear():
    return torch.nn.Linear(3, 2)


def places(module):
    return [tensor.data_ptr() for tensor in module.parameters()]


def test_a_model_is_on_the_device_only_while_it_works(linear):
    given = torch.randn(4, 3)
    expected = linear(given)
    resting = Counted(linear)
    home = places(linear)
    with at_work(resting, torch.nn.Linear(1, 1)):
        assert not set(places(linear)) & set(home)
        away = places(linear)
        assert torch.equal(resting(given), expected) and torch.equal(resting(given), expected)
        assert places(linear) == away
    assert places(linear) == home
    assert resting.arrivals == 2  # weight and bias, once
    assert torch.equal(resting(given), expected)
    assert places(linear) == home and resting.arrivals == 4
    assert not any(parameter.requires_grad for parameter in resting.parameters())


def test_a_model_that_fails_rests_again(linear):
    resting = Counted(linear)
    home = places(linear)
    with pytest.raises(RuntimeError, match="shapes"):
        resting(torch.randn(4, 5))
    assert places(linear) == home and not resting.works


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
