"""Which token of a row of trees attends to which: for every pair of tokens, or in blocks for FlexAttention.

    keys         prompt   response 1   response 2
    prompt       a part
    response 1   whole    a part
    response 2   whole                 a part

Blocks that are left out cost nothing, and whole ones need no mask (arXiv 2412.05496). Which are which follows from
where prompts and responses begin, so no mask of all pairs is made for them.

Notation: B rows, T tokens of a row, N blocks of a row, S segments of a row (a prompt, a response or padding).
"""

from math import ceil

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import pad

IN_PROMPT = -1  # in place of a response
BLOCK_LEN = 128  # tokens; what FlexAttention's kernels are made for
NONE = -2  # in place of a tree


def may_see(query_tree: Tensor, query_branch: Tensor, key_tree: Tensor, key_branch: Tensor) -> Tensor:
    """Whether a token may attend to an earlier one: it is of the same prompt, and no other response's."""
    return (query_tree == key_tree) & ((key_branch == IN_PROMPT) | (query_branch == key_branch))


def all_pairs(tree: Tensor, branch: Tensor) -> Tensor:
    """May a token (row) attend to another (column), [B, T, T].

    Args:
        tree, branch: of each token, as in `Batch`, [B, T].
    """
    length = tree.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=tree.device).tril()
    return may_see(tree[:, :, None], branch[:, :, None], tree[:, None], branch[:, None]) & earlier


def in_blocks(tree: Tensor, branch: Tensor, device: torch.device) -> BlockMask:
    """The same on a device, from what is known on the CPU."""
    some, whole = _blocks(tree, branch)
    of_tree, of_branch = (each.int().to(device, non_blocking=True) for each in (tree, branch))

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        of_query, of_key = (row, query), (row, key)
        sees_it = may_see(of_tree[of_query], of_branch[of_query], of_tree[of_key], of_branch[of_key])
        return sees_it & (query >= key)

    ordered = [
        each.to(device, non_blocking=True) for kind in (some & ~whole, whole) for each in _ordered(kind)
    ]
    return BlockMask.from_kv_blocks(
        *ordered, BLOCK_SIZE=BLOCK_LEN, mask_mod=sees, seq_lengths=(tree.shape[1],) * 2
    )


def _blocks(tree: Tensor, branch: Tensor) -> tuple[Tensor, Tensor]:
    """Whether any, and whether every token of a block (row) attends to one of a block (column), [B, 1, N, N]."""
    num_rows, length = tree.shape
    num_blocks = ceil(length / BLOCK_LEN)
    tree, branch = (pad(each, (0, num_blocks * BLOCK_LEN - length), value=NONE) for each in (tree, branch))
    begins = (tree.diff(dim=1) != 0) | (branch.diff(dim=1) != 0)
    segment = pad(begins, (1, 0)).cumsum(1)  # [B, T]
    num_segments = int(segment.max()) + 1
    tree, branch = (
        each.new_full((num_rows, num_segments), NONE).scatter(1, segment, each) for each in (tree, branch)
    )
    seen = may_see(tree[:, :, None], branch[:, :, None], tree[:, None], branch[:, None])
    holds = torch.zeros(num_rows, num_blocks, num_segments)
    blocks = torch.arange(num_blocks).repeat_interleave(BLOCK_LEN).expand(num_rows, -1)
    holds[torch.arange(num_rows)[:, None], blocks, segment] = 1.0
    some, unseen = ((holds @ each.float() @ holds.mT > 0).tril()[:, None] for each in (seen, ~seen))
    return some, some & ~unseen & torch.ones(num_blocks, num_blocks, dtype=torch.bool).tril(-1)


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks each block attends to, [B, 1, N], and which: those first, [B, 1, N, N]."""
    return blocks.sum(-1, dtype=torch.int32), blocks.int().argsort(dim=-1, descending=True, stable=True).int()
