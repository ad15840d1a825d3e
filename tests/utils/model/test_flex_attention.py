"""Where FlexAttention is used: where its kernels are made for the model, and give the right results."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.utils.model.test_tree_attention import flex_on_cpu  # noqa: F401
from training.utils.model import flex_attention as module
from training.utils.model.flex_attention import flex_attention_serves, is_right

ABOUT = (4, 2, 16, torch.bfloat16, torch.device("cpu"))


def serves(dtype=torch.bfloat16, drops_out=True, **settings):
    config = LlamaConfig(**{"hidden_size": 256, "num_attention_heads": 4} | settings)
    return flex_attention_serves(config, dtype, drops_out)


def test_a_gpu_and_a_model_that_its_kernels_are_made_for(monkeypatch):
    assert not serves()  # no GPU here
    asked = []
    monkeypatch.setattr(module.dist, "device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(module, "has_triton", lambda: True)
    monkeypatch.setattr(module, "is_right", lambda *about: asked.append(about[:3]) or True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert serves() and serves(torch.float16, num_key_value_heads=2, head_dim=128)
    assert asked == [(4, 4, 64), (4, 2, 128)]
    assert not serves(torch.float32)
    assert not serves(head_dim=8)
    assert not serves(attention_dropout=0.1) and serves(drops_out=False, attention_dropout=0.1)
    monkeypatch.setattr(module, "is_right", lambda *_: False)
    assert not serves()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(module, "is_right", lambda *_: True)
    assert not serves()


def no_compiler(*_, **__):
    raise RuntimeError("Failed to find C compiler.\nPlease specify one.")


def without_mask(layer, query, key, value, attention_mask, **kwargs):
    return sdpa_attention_forward(layer, query, key, value, None, **kwargs)


def without_gradient_of_keys(layer, query, key, value, attention_mask, **kwargs):
    output, _ = right(layer, query, key.detach(), value, attention_mask, **kwargs)
    return output + 0 * key.sum(), None


right = module.flex_attention_forward


def test_it_is_used_where_it_is_right(caplog, flex_on_cpu):  # noqa: F811
    is_right.cache_clear()
    assert is_right(*ABOUT) and module.__name__ not in caplog.text


@pytest.mark.parametrize(
    "wrong, said",
    [
        (no_compiler, "RuntimeError: Failed to find C compiler."),
        (without_mask, "differ by"),
        (without_gradient_of_keys, "differ by"),
    ],
)
def test_it_is_not_used_where_it_is_not(wrong, said, monkeypatch, caplog, flex_on_cpu):  # noqa: F811
    is_right.cache_clear()
    monkeypatch.setattr(module, "flex_attention_forward", wrong)
    with caplog.at_level("WARNING"):
        assert not is_right(*ABOUT)
    is_right.cache_clear()
    assert said in caplog.text and "fused kernels" in caplog.text
