"""Attention of trees, in two parts and by FlexAttention, equals attention through the whole mask."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.flex_attention import BlockMask
from transformers.integrations import flex_attention as flex_integration
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.conftest import RECORDS, record
from tests.utils.model.test_families import tiny_of  # noqa: F401
from training.utils.config.stage_config import SFTConfig
from training.utils.data.loader import Collator
from training.utils.data.tree import Response, Tree, collate
from training.utils.model import tree_attention as module
from training.utils.model.build_model import build_policy, get_family
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.model.tree_attention import tree_attention, use_tree_attention


def tree(prompt_len, *response_lens):
    responses = [Response([3] * n) for n in response_lens]
    return Tree("x", [2] * prompt_len, [False] * prompt_len, responses)


ROWS = {
    "prompts of different lengths": [[tree(70, 9, 4)], [tree(90, 3, 2, 8)]],
    "packed": [[tree(66, 5, 7), tree(20, 4, 4)], [tree(80, 6)]],
    "of several blocks": [[tree(150, 140, 20)], [tree(70, 130)]],
}


@pytest.fixture
def flex_on_cpu(monkeypatch):
    """FlexAttention as plain operations: its kernels for a CPU have no backward pass, and take long to compile."""

    def uncompiled(query, key, value, training=False, **kwargs):
        return flex.flex_attention(query, key, value, **kwargs)

    monkeypatch.setattr(flex_integration, "compile_friendly_flex_attention", uncompiled)
    monkeypatch.setattr(flex, "_validate_device", lambda *_: None)
    monkeypatch.setattr(module, "MIN_BLOCKS_LEN", 0)
    torch._dynamo.reset()


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_outputs_and_gradients_equal_those_through_the_whole_mask(rows, flex_on_cpu):
    batch = collate(rows, 0, lambda parts: {})
    assert batch.attention_mask.causal_len == min(len(row[0].prompt_ids) for row in rows) >= 64
    layer = nn.Module()
    layer.num_key_value_groups = 2
    on = batch.tree >= 0
    found = []
    for attend, mask in (
        (sdpa_attention_forward, batch.attention_mask),
        (tree_attention, batch.attention_mask),
        (tree_attention, batch.block_mask),
    ):
        torch.manual_seed(0)
        query, key, value = (
            torch.randn(2, heads, batch.tree.shape[1], 16, requires_grad=True) for heads in (4, 2, 2)
        )
        output, _ = attend(layer, query, key, value, mask, scaling=0.3)
        found.append((output[on], *torch.autograd.grad(output[on].square().sum(), [query, key, value])))
    expected, *ours = found
    for each in ours:
        torch.testing.assert_close(each, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "llama-3.2-vision"])
def test_families_say_by_flex_attention_what_they_say_through_the_whole_mask(name, tiny_of, flex_on_cpu):  # noqa: F811
    tiny, found = tiny_of(name), {}
    for by_blocks in (False, True):
        model, batch = tiny.model, tiny.batch(*RECORDS)
        use_tree_attention(tiny.family.language_model(model), by_blocks)
        with torch.no_grad():
            found[by_blocks] = Policy(model, tiny.family)(batch)
        assert ("block_mask" in vars(batch), "attention_mask" in vars(batch)) == (by_blocks, not by_blocks)
    torch.testing.assert_close(found[True], found[False], atol=1e-5, rtol=0)


def test_a_mask_in_blocks_is_made_once_for_a_batch_of_long_rows_of_several_responses(tiny_llava, monkeypatch):
    """A GPU is only pretended; where it is wanted so, or there is none, a model does without FlexAttention."""
    masks = []

    def recorded(layer, query, key, value, attention_mask, **kwargs):
        masks.append(attention_mask)
        return query.transpose(1, 2), None

    monkeypatch.setattr(module, "flex_attention_forward", recorded)
    monkeypatch.setattr(module, "MIN_BLOCKS_LEN", 80)
    config = SFTConfig(from_checkpoint=str(tiny_llava), data_path="x", output_dir="x")
    family = get_family("auto", tiny_llava)
    batches = [
        collate([[tree(70, 9, 4)]], 0, lambda parts: {}),
        collate([[tree(70, 9)]], 0, lambda parts: {}),
        collate([[tree(66, 9, 4)]], 0, lambda parts: {}),  # too short
    ]

    def count(**flags):
        policies = [
            build_policy(replace(config, **flags), tiny_llava, family, trains) for trains in (True, False)
        ]
        masks.clear()
        for batch in batches:
            for policy in policies:
                policy(batch)
        return len(masks)

    assert count() == 0
    monkeypatch.setattr("training.utils.model.build_model.flex_attention_serves", lambda *_: True)
    assert count(attn_implementation="sdpa") == 0
    assert count() == 2 * 2  # in the two layers of two models
    assert isinstance(masks[0], BlockMask) and all(mask is masks[0] for mask in masks)


def test_a_model_that_is_built_for_training_uses_it(tiny_llava, monkeypatch):
    """And not where a row is no tree, or the prompt is too short to be worth it."""
    config = SFTConfig(from_checkpoint=str(tiny_llava), data_path="x", output_dir="x")
    policy = build_policy(config, tiny_llava, get_family("auto", tiny_llava))
    lengths = []

    def counted(layer, query, *args, **kwargs):
        lengths.append(query.shape[2])
        return sdpa_attention_forward(layer, query, *args, **kwargs)

    monkeypatch.setattr(module, "sdpa_attention_forward", counted)
    for rows, expected in (
        ([[tree(70, 9, 4)]], [70, 13]),
        ([[tree(70, 9)]], [79]),
        ([[tree(20, 9, 4)]], [33]),
    ):
        lengths.clear()
        policy(collate(rows, 0, lambda parts: {}))
        assert lengths == expected * 2  # in each of the two layers


def test_the_kernel_gets_no_mask_of_rows_that_are_padded_on_the_right(model, encoder, monkeypatch):
    """And so can be the flash kernel, which takes none."""
    use_tree_attention(model.model.language_model)
    records = [record("<image>\nWhat?", "That."), record("<image>\nAnd what is this, if I may ask?", "This.")]
    batch = Collator(encoder, True)([encoder.encode(one) for one in records])
    assert not batch.is_token.all()
    calls = []

    def recorded(query, key, value, attn_mask=None, is_causal=False, **more):
        if query.shape[2] == batch.input_ids.shape[1]:
            calls.append((attn_mask, is_causal))
        return attend(query, key, value, attn_mask=attn_mask, is_causal=is_causal, **more)

    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    with torch.no_grad():
        Policy(model, Llava())(batch)
    assert calls == [(None, True)] * model.config.text_config.num_hidden_layers
