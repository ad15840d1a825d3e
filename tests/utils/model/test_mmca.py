"""Multi-modal causal attention: against a loop over every pair of tokens, and in a LLaMA."""

from dataclasses import dataclass

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.masking_utils import create_causal_mask

from training.utils.data.tree import Response, Tree, collate
from training.utils.model import mmca
from training.utils.model.mmca import mmca_attention

IMAGE = 3
SIZE = 8
SCALING = SIZE**-0.5


@dataclass
class Module:
    """What plain attention reads of the layer that calls it."""

    num_key_value_groups: int = 2
    is_causal: bool = True


def attend(query, key, value, mask, is_image):
    return mmca_attention(Module(), query, key, value, mask, SCALING, is_image=is_image)[0]


def naive_attention(query, key, value, mask, is_image):
    """Pair by pair, for as many queries as keys."""
    result = torch.zeros_like(query)
    groups = query.shape[1] // key.shape[1]
    for b, head, q in torch.cartesian_prod(*map(torch.arange, query.shape[:3])).tolist():
        seen = [k for k in range(key.shape[2]) if mask[b, 0, q, k]]
        if is_image[b, q]:
            parts = [[k for k in seen if k == q]]
        else:
            parts = [[k for k in seen if is_image[b, k] == kind] for kind in (False, True)]
        for part in filter(None, parts):
            scores = [query[b, head, q] @ key[b, head // groups, k] * SCALING for k in part]
            weights = torch.stack(scores).softmax(0)
            for weight, k in zip(weights, part, strict=True):
                result[b, head, q] += weight * value[b, head // groups, k]
    return result.transpose(1, 2)


def trees():
    """Two prompts with images and three branches each, of different lengths."""
    return [
        Tree(
            "a",
            [5, IMAGE, IMAGE, 6, 7, IMAGE, 8],
            [False] * 7,
            [Response([9, 10, 2]), Response([11, 2]), Response([12, 9, 8, 2])],
        ),
        Tree("b", [5, 6, IMAGE, 7], [False] * 4, [Response([9, 2]), Response([13, 14, 15]), Response([2])]),
    ]


def batch_of(rows, pad_left=False):
    return collate(rows, pad_id=0, stack_vision=lambda parts: {}, pad_left=pad_left)


def heads(num_rows, num_tokens, dtype=torch.float64):
    return (
        torch.randn(num_rows, 4, num_tokens, SIZE, dtype=dtype),
        torch.randn(num_rows, 2, num_tokens, SIZE, dtype=dtype),
        torch.randn(num_rows, 2, num_tokens, SIZE, dtype=dtype),
    )


@pytest.fixture
def llama():
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        pad_token_id=0,
    )
    return LlamaForCausalLM._from_config(config, attn_implementation="mmca").eval()


@pytest.mark.parametrize("pad_left", [False, True])
@pytest.mark.parametrize("additive", [False, True])
def test_equals_a_loop_over_all_pairs_of_tokens(pad_left, additive):
    batch = batch_of([[tree] for tree in trees()], pad_left)
    mask = batch.attention_mask
    is_image = (batch.input_ids == IMAGE) | ((torch.rand(batch.input_ids.shape) < 0.2) & (batch.tree >= 0))
    inputs = heads(*batch.input_ids.shape)
    given = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min) if additive else mask
    expected = naive_attention(*inputs, mask, is_image)
    torch.testing.assert_close(attend(*inputs, given, is_image), expected)


def test_without_a_mask_the_order_is_causal_and_queries_are_the_last_of_the_keys():
    query, key, value = heads(2, 9)
    is_image = torch.rand(2, 7) < 0.5
    whole = torch.cat([is_image, torch.zeros(2, 2, dtype=torch.bool)], 1)
    expected = naive_attention(query, key, value, torch.ones(2, 1, 9, 9).tril(), whole)
    for num in (9, 4, 1):
        ours = attend(query[:, :, -num:], key, value, None, is_image)
        torch.testing.assert_close(ours, expected[:, -num:])


def test_text_before_any_image_gets_plain_attention_and_nothing_from_images():
    query, key, value = heads(2, 9)
    is_image = torch.zeros(2, 9, dtype=torch.bool)
    is_image[:, 5:7] = True
    mask = torch.ones(2, 1, 9, 9, dtype=torch.bool).tril()
    mask[1, :, :, 0] = False
    plain = attend(query, key, value, mask, None)
    torch.testing.assert_close(plain, naive_attention(query, key, value, mask, torch.zeros_like(is_image)))
    ours = attend(query, key, value, mask, is_image)
    torch.testing.assert_close(ours[:, :5], plain[:, :5])
    assert not torch.allclose(ours[:, 5:], plain[:, 5:])


def plain_kernel(query, key, value, attn_mask, dropout_p, scale):
    """As a kernel may do it: no keys, no number."""
    scores = (query @ key.transpose(-1, -2) * scale).masked_fill(~attn_mask, -torch.inf)
    return scores.softmax(-1) @ value


@pytest.mark.parametrize("kernel", [scaled_dot_product_attention, plain_kernel])
def test_gradients_are_finite_where_a_query_sees_nothing(kernel, monkeypatch):
    monkeypatch.setattr(mmca, "scaled_dot_product_attention", kernel)
    inputs = [tensor.requires_grad_() for tensor in heads(1, 5)]
    is_image = torch.tensor([[False, False, False, True, False]])
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril()
    mask[..., :2] = False  # padding on the left: its own rows see nothing at all
    attend(*inputs, mask, is_image).sum().backward()
    assert all(tensor.grad.isfinite().all() and tensor.grad.abs().sum() > 0 for tensor in inputs)


def test_layers_get_a_mask_even_if_it_is_plain(llama):
    mask = create_causal_mask(llama.config, torch.zeros(2, 5, 32), attention_mask=None, past_key_values=None)
    assert torch.equal(mask, torch.ones(2, 1, 5, 5, dtype=torch.bool).tril())


@torch.no_grad()
@pytest.mark.parametrize("later", [1, 3, 5, 8])
def test_no_token_changes_anything_before_it(llama, later):
    ids = torch.tensor([[5, 6, IMAGE, IMAGE, 7, IMAGE, 8, 9, 10]])
    before = llama(ids, is_image=ids == IMAGE).logits
    for token in (IMAGE, 11):
        other = ids.clone()
        other[0, later:] = token
        after = llama(other, is_image=other == IMAGE).logits
        assert torch.equal(after[:, :later], before[:, :later])
        assert not torch.allclose(after[:, later:], before[:, later:])


@torch.no_grad()
def test_generation_with_a_cache_equals_the_whole_forward(llama):
    batch = batch_of([[tree] for tree in (Tree("a", [5, 6], []), trees()[0])], pad_left=True)
    ids, positions = batch.input_ids, batch.position_ids
    is_image, seen = ids == IMAGE, batch.tree >= 0
    out = llama(ids, attention_mask=seen, position_ids=positions, is_image=is_image, use_cache=True)
    steps = [out.logits]
    for token in torch.tensor([[9, 11], [10, 12], [14, 9]]):
        ids, seen = torch.cat([ids, token[:, None]], 1), torch.cat([seen, seen[:, -1:]], 1)
        positions = torch.cat([positions, positions[:, -1:] + 1], 1)
        out = llama(
            token[:, None],
            attention_mask=seen,
            position_ids=positions[:, -1:],
            is_image=is_image,
            past_key_values=out.past_key_values,
        )
        steps.append(out.logits)
    whole = llama(ids, attention_mask=seen, position_ids=positions, is_image=ids == IMAGE).logits
    torch.testing.assert_close(torch.cat(steps, 1)[seen], whole[seen], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pad_left", [False, True])
def test_trees_equal_separate_rows(llama, pad_left):
    def hidden_before_labels(rows):
        batch = batch_of(rows, pad_left)
        hidden = llama.model(
            batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            is_image=batch.input_ids == IMAGE,
        ).last_hidden_state
        return batch, hidden.flatten(0, 1)[batch.predictor]

    whole, ours = hidden_before_labels([trees()])
    rows, expected = hidden_before_labels([[branch] for tree in trees() for branch in tree.branches()])
    assert whole.label_ids.tolist() == rows.label_ids.tolist() and rows.is_causal and not whole.is_causal
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
