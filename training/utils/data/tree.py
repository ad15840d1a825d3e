"""A prompt with its responses as one row: the prompt once, then each response as a branch.

    token      <s> USER : [img] what is this ? ASSISTANT : | a cat . </s> | two dogs . </s>
    branch     -1   -1 ...                              -1 | 0  0  0  0   | 1   1    1  1
    position    0    1 ...                               9 | 10 11 12 13  | 10  11  12  13

A token attends to an earlier token of the same tree whose branch is -1 or its own, so each response sees just
what it would see in a row of its own, and the prompt with its images is computed once.

Notation: B rows, T tokens of a row, P prompts, R responses, N learned tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import torch
from torch import Tensor

IN_PROMPT = -1


@dataclass
class Tree:
    """One prompt with its responses, as token ids."""

    id: str
    prompt_ids: list[int]  # images expanded
    prompt_learned: list[bool]  # tokens that an earlier assistant turn produced
    responses: list[list[int]] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)  # the response has its end of turn
    vision: dict[str, Tensor] = field(default_factory=dict)  # what the family's processor made of the images
    new_prompt: bool = True  # False: more of the prompt before it, or a filler that nothing is learned from

    def __len__(self) -> int:
        return len(self.prompt_ids) + sum(map(len, self.responses))

    def with_responses(self, responses: list[list[int]], stop_ids: set[int]) -> "Tree":
        """The prompt with sampled responses: they alone are learned from, and end where a stop token came."""
        return replace(
            self,
            prompt_learned=[False] * len(self.prompt_ids),
            responses=responses,
            ended=[ids[-1] in stop_ids for ids in responses],
        )

    def branches(self) -> list["Tree"]:
        """The same responses, each in a tree of its own; a tree without any as it is."""
        if not self.responses:
            return [self]
        return [
            replace(self, responses=[ids], ended=[end], new_prompt=k == 0)
            for k, (ids, end) in enumerate(zip(self.responses, self.ended, strict=True))
        ]


@dataclass
class Batch:
    """Rows of trees, and their learned tokens as a flat list.

    A learned token is one that the policy produced: all response tokens, and earlier assistant turns. Flat
    lists need no padding, whatever the number and length of responses. Indices count over rows: B * T.
    """

    ids: list[str]  # [P] record ids
    input_ids: Tensor  # [B, T]
    position_ids: Tensor  # [B, T]
    branch: Tensor  # [B, T] response within the tree, -1 in the prompt
    tree: Tensor  # [B, T] tree within the row, -1 on padding
    label_ids: Tensor  # [N] the learned tokens
    predictor: Tensor  # [N] index of the token that predicts it
    response: Tensor  # [N] which response, 0..R-1; -1 for an earlier assistant turn
    prompt_of_response: Tensor  # [R] 0..P-1
    last_token: Tensor  # [R] index of the response's last token
    ended: Tensor  # [R] bool: the response has its end of turn
    vision: dict[str, Tensor]  # images in the order of their tokens
    is_causal: bool  # every row is one tree with at most one response: the plain causal mask is right
    causal_len: int  # tokens that every row begins with for which it is right in any case: a prompt

    @property
    def num_responses(self) -> int:
        return len(self.last_token)

    @property
    def num_prompts(self) -> int:
        return len(self.ids)

    @property
    def num_learned(self) -> int:
        return len(self.label_ids)

    @property
    def num_tokens(self) -> int:
        return int((self.tree >= 0).sum())

    @cached_property
    def attention_mask(self) -> Tensor:
        """True where a token may be attended to: [B, T] if causal order says the rest, else [B, 1, T, T]."""
        if self.is_causal:
            return self.tree >= 0
        query, key = self.tree[:, :, None], self.tree[:, None, :]
        own = (self.branch[:, None, :] == IN_PROMPT) | (self.branch[:, :, None] == self.branch[:, None, :])
        length = self.tree.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=self.tree.device).tril()
        mask = ((query == key) & own & earlier)[:, None]
        mask.causal_len = (
            self.causal_len
        )  # for tree_attention.py: transformers hands layers the mask as it is
        return mask

    def to(self, device: torch.device | str) -> "Batch":
        moved = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                moved[item.name] = value.to(device, non_blocking=True)
            elif isinstance(value, dict):
                moved[item.name] = {name: t.to(device, non_blocking=True) for name, t in value.items()}
        return replace(self, **moved)


def pack(trees: Sequence[Tree], row_len: int) -> list[list[Tree]]:
    """Trees put into as few rows of `row_len` tokens as first-fit finds, their order kept within a row."""
    rows: list[list[Tree]] = []
    for tree in trees:
        room = (row for row in rows if sum(map(len, row)) + len(tree) <= row_len)
        row = next(room, None)
        if row is None:
            rows.append([tree])
        else:
            row.append(tree)
    return rows


def collate(
    rows: Sequence[Sequence[Tree]],
    pad_id: int,
    stack_vision: Callable[[list[dict[str, Tensor]]], dict[str, Tensor]],
    pad_left: bool = False,
) -> Batch:
    """Rows of trees to tensors, padded on the right, or on the left: there all prompts end at one place.

    One row with one prompt `[5 6]` and responses `[7 2]` and `[8 9 2]`:

    >>> tree = Tree("a", [5, 6], [False, False], [[7, 2], [8, 9, 2]], [True, True])
    >>> batch = collate([[tree]], pad_id=0, stack_vision=lambda parts: {})
    >>> batch.input_ids.tolist(), batch.position_ids.tolist()
    ([[5, 6, 7, 2, 8, 9, 2]], [[0, 1, 2, 3, 2, 3, 4]])
    >>> batch.branch.tolist(), batch.predictor.tolist()
    ([[-1, -1, 0, 0, 1, 1, 1]], [1, 2, 1, 4, 5])
    >>> batch.label_ids.tolist(), batch.response.tolist(), batch.last_token.tolist()
    ([7, 2, 8, 9, 2], [0, 0, 1, 1, 1], [3, 6])
    """
    length = max(sum(map(len, row)) for row in rows)
    shape = (len(rows), length)
    input_ids = torch.full(shape, pad_id)
    position_ids = torch.zeros(shape, dtype=torch.long)
    branch = torch.full(shape, IN_PROMPT)
    tree_number = torch.full(shape, -1)
    label_ids: list[int] = []
    predictor: list[int] = []
    response: list[int] = []
    prompt_of_response: list[int] = []
    last_token: list[int] = []
    trees = [tree for row in rows for tree in row]
    num_prompts = 0
    for row_number, row in enumerate(rows):
        start = length - sum(map(len, row)) if pad_left else 0
        for number, tree in enumerate(row):
            base = row_number * length + start
            num_prompts += tree.new_prompt
            prompt_len = len(tree.prompt_ids)
            ids, positions, branches = (
                list(tree.prompt_ids),
                list(range(prompt_len)),
                [IN_PROMPT] * prompt_len,
            )
            for place, is_learned in enumerate(tree.prompt_learned):
                if is_learned:
                    label_ids.append(tree.prompt_ids[place])
                    predictor.append(base + place - 1)
                    response.append(IN_PROMPT)
            for k, tokens in enumerate(tree.responses):
                first = base + len(ids)
                label_ids += tokens
                predictor += [base + prompt_len - 1, *range(first, first + len(tokens) - 1)][: len(tokens)]
                response += [len(last_token)] * len(tokens)
                prompt_of_response.append(num_prompts - 1)
                last_token.append(first + len(tokens) - 1)
                ids += tokens
                positions += range(prompt_len, prompt_len + len(tokens))
                branches += [k] * len(tokens)
            span = slice(start, start + len(ids))
            input_ids[row_number, span] = torch.tensor(ids)
            position_ids[row_number, span] = torch.tensor(positions)
            branch[row_number, span] = torch.tensor(branches)
            tree_number[row_number, span] = number
            start += len(ids)
    return Batch(
        ids=[tree.id for tree in trees if tree.new_prompt],
        input_ids=input_ids,
        position_ids=position_ids,
        branch=branch,
        tree=tree_number,
        label_ids=torch.tensor(label_ids, dtype=torch.long),
        predictor=torch.tensor(predictor, dtype=torch.long),
        response=torch.tensor(response, dtype=torch.long),
        prompt_of_response=torch.tensor(prompt_of_response, dtype=torch.long),
        last_token=torch.tensor(last_token, dtype=torch.long),
        ended=torch.tensor([end for tree in trees for end in tree.ended], dtype=torch.bool),
        vision=stack_vision([tree.vision for tree in trees if tree.vision]),
        is_causal=all(len(row) == 1 and len(row[0].responses) <= 1 for row in rows),
        causal_len=0 if pad_left else min(len(row[0].prompt_ids) for row in rows),
    )
