"""QLoRA: what is quantized, and that a model is saved as it was before that, with what was trained."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers.quantizers.quantizers_utils import should_convert_module

from tests.tiny_families import BUILDERS
from training.utils.model.build_model import FAMILIES
from training.utils.model.llava import Llava
from training.utils.model.lora import ADAPTER, add_lora, four_bit, lora_layers
from training.utils.model.save import save_model


@pytest.mark.parametrize("name", ["llava", "llama-3.2-vision", "qwen3_vl", "idefics3"])
def test_tower_and_projector_are_not_quantized(name):
    model, family = BUILDERS[name][0]()[0], FAMILIES[name]
    kept = four_bit(torch.bfloat16).llm_int8_skip_modules
    language = {id(module) for module in family.language_model(model).modules()}
    linear = {
        place: m for place, m in model.named_modules() if isinstance(m, nn.Linear) and m is not model.lm_head
    }
    assert {should_convert_module(place, kept) for place in linear} == {True, False}
    assert all(should_convert_module(place, kept) == (id(m) in language) for place, m in linear.items())


@torch.no_grad()
def test_a_quantized_model_is_saved_whole_with_what_was_trained(tiny_llava, tmp_path):
    before, family = Llava().load_model(str(tiny_llava)).state_dict(), Llava()
    model = family.load_model(str(tiny_llava))
    add_lora(family.language_model(model), 2, 6.0, "layers.")
    expected = dict(before)
    for place, layer in lora_layers(model).items():
        layer.lora_B[ADAPTER].weight.normal_()
        change = 3 * layer.lora_B[ADAPTER].weight @ layer.lora_A[ADAPTER].weight
        expected[f"{place}.weight"] = before[f"{place}.weight"] + change
        packed = torch.zeros(layer.get_base_layer().weight.numel() // 2, 1, dtype=torch.uint8)
        layer.get_base_layer().weight = nn.Parameter(packed, requires_grad=False)
    model.model.multi_modal_projector.linear_1.weight.add_(1)  # trained beside the adapters
    expected["model.multi_modal_projector.linear_1.weight"] += 1
    facts = {f"{place}.base_layer.weight.absmax": torch.ones(2) for place in lora_layers(model)}
    model.hf_quantizer = SimpleNamespace(get_state_dict_and_metadata=lambda model: (None, {}))
    model.config.quantization_config = four_bit(torch.float32)
    save_model(family, model, tmp_path, model.state_dict() | facts)
    assert "quantization" not in (tmp_path / "config.json").read_text()
    found = family.load_model(str(tmp_path)).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, msg=name)
    assert model.hf_quantizer and model.config.quantization_config
