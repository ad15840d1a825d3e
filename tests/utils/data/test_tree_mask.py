"""Masks of trees: by a rule written out for each pair of tokens, and in the blocks that torch finds."""

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, create_mask

from training.utils.data.tree import Response, Tree, collate
from training.utils.data.tree_mask import BLOCK_LEN, all_pairs, in_blocks


def tree(prompt_len, *response_lens):
    return Tree("x", [2] * prompt_len, [False] * prompt_len, [Response([3] * n) for n in response_lens])


ROWS = {
    "one block": [[tree(5, 3, 4)]],
    "prompts and responses of whole blocks": [[tree(256, 128, 256)]],
    "padded": [[tree(300, 90, 200, 1)], [tree(40, 7)], [tree(130, 120, 130, 140)]],
    "packed": [[tree(300, 40, 50), tree(140, 128), tree(9), tree(20, 3, 3)], [tree(257, 255, 20)]],
}


@pytest.fixture(params=ROWS.values(), ids=list(ROWS))
def batch(request):
    return collate(request.param, 0, lambda parts: {})


def seen(rows):
    """By hand: each token's places, prompt first, in its own tree and response."""
    length = max(sum(map(len, row)) for row in rows)
    mask = torch.zeros(len(rows), length, length, dtype=torch.bool)
    for number, row in enumerate(rows):
        start = 0
        for one in row:
            prompt = range(start, start + len(one.prompt_ids))
            start += len(prompt)
            for query in prompt:
                mask[number, query, prompt.start : query + 1] = True
            for response in one.responses:
                for query in range(start, start + len(response.ids)):
                    mask[number, query, prompt.start : prompt.stop] = True
                    mask[number, query, start : query + 1] = True
                start += len(response.ids)
    return mask


@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
def test_a_token_sees_its_prompt_and_its_own_response(rows):
    batch = collate(rows, 0, lambda parts: {})
    assert torch.equal(all_pairs(batch.tree, batch.branch)[batch.is_token], seen(rows)[batch.is_token])


def test_blocks_are_those_that_torch_finds_in_the_mask_of_all_pairs(batch):
    ours, pairs = batch.block_mask, all_pairs(batch.tree, batch.branch)
    num_rows, length = batch.tree.shape

    def sees(row, head, query, key):
        return pairs[row, query, key]

    theirs = create_block_mask(sees, num_rows, None, length, length, "cpu", BLOCK_LEN)
    assert ours.shape == theirs.shape == (num_rows, 1, length, length)
    for counts, places in (("kv_num_blocks", "kv_indices"), ("q_num_blocks", "q_indices")):
        for kind in ("", "full_"):
            number, expected = getattr(ours, kind + counts), getattr(theirs, kind + counts)
            assert torch.equal(number, expected)
            first = torch.arange(number.shape[-1]) < number[..., None]
            assert torch.equal(
                getattr(ours, kind + places)[first], getattr(theirs, kind + places)[first].to(torch.int32)
            )
    assert torch.equal(create_mask(ours.mask_mod, num_rows, 1, length, length, "cpu")[:, 0], pairs)


def test_blocks_are_found_without_a_look_at_all_pairs(monkeypatch):
    """4,000 tokens have 16 million pairs; of their 32 blocks there are 1,024."""
    batch = collate([[tree(1600, *[300] * 8)]], 0, lambda parts: {})
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **kwargs or {})
            for each in out if isinstance(out, tuple | list) else (out,):
                largest = max(largest, each.numel() if isinstance(each, torch.Tensor) else 0)
            return out

    with Sizes():
        in_blocks(batch.tree, batch.branch, torch.device("cpu"))
    assert largest <= 32 * 128
