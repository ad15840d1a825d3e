"""Attention of trees in two parts equals attention through the whole mask."""

import pytest
import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.conftest import record
from training.utils.data.loader import Collator
from training.utils.data.tree import Response, Tree, collate
from training.utils.model import tree_attention as module
from training.utils.model.build_model import build_policy, get_family
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.model.tree_attention import tree_attention, use_tree_attention
from training.utils.stage_config import SFTConfig


def tree(prompt_len, *response_lens):
    responses = [Response([3] * n) for n in response_lens]
    return Tree("x", [2] * prompt_len, [False] * prompt_len, responses)


ROWS = {
    "prompts of different lengths": [[tree(70, 9, 4)], [tree(90, 3, 2, 8)]],
    "packed": [[tree(66, 5, 7), tree(20, 4, 4)], [tree(80, 6)]],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_outputs_and_gradients_equal_those_through_the_whole_mask(rows):
    batch = collate(rows, 0, lambda parts: {})
    assert batch.attention_mask.causal_len == min(len(row[0].prompt_ids) for row in rows) >= 64
    layer = nn.Module()
    layer.num_key_value_groups = 2
    on = batch.tree >= 0
    found = []
    for attend in (tree_attention, sdpa_attention_forward):
        torch.manual_seed(0)
        query, key, value = (
            torch.randn(2, heads, batch.tree.shape[1], 8, requires_grad=True) for heads in (4, 2, 2)
        )
        output, _ = attend(layer, query, key, value, batch.attention_mask, scaling=0.3)
        found.append((output[on], *torch.autograd.grad(output[on].square().sum(), [query, key, value])))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


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
