"""A prompt with its responses as one row: the prompt once, then each response as a branch.

    token      <s> USER : [img] what is this ? ASSISTANT : | a cat . </s> | two dogs . </s>
    branch     -1   -1 ...                              -1 | 0  0  0  0   | 1   1    1  1
    position    0    1 ...                               9 | 10 11 12 13  | 10  11  12  13

A token attends to an earlier token of the same tree whose branch is -1 or its own, so each response sees just
what it would see in a row of its own, and the prompt with its images is computed once.

Notation: B rows, T tokens of a row, P prompts, R responses, N learned tokens.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import torch
from torch import Tensor

from .batch import Batch
from .record import Record
from .tree_mask import IN_PROMPT


class Kind(IntEnum):
    """What a response is to its prompt."""

    OWN = 0  # an answer to it
    BORROWED = 1  # an answer to another prompt (KTO compares with it)
    OTHER_IMAGE = 2  # the best answer, below other images than its own (mDPO compares with it)


@dataclass
class Response:
    """A response as token ids, and what is known of it; NaN where that is nothing."""

    ids: list[int]
    ended: bool = True  # it has its end of turn
    score: float = math.nan  # as its record gives it
    ref_logp: float = math.nan  # log-probability under a reference, nats
    sampled_logps: list[float] | None = None  # of each token, by what sampled it, nats
    kind: Kind = Kind.OWN
    aspect: int = -1  # of its record


@dataclass
class Tree:
    """One prompt with its responses, as token ids."""

    id: str
    prompt_ids: list[int]  # images expanded
    prompt_learned: list[bool]  # tokens that an earlier assistant turn produced
    responses: list[Response] = field(default_factory=list)
    vision: dict[str, Tensor] = field(default_factory=dict)  # what the family's processor made of the images
    new_prompt: bool = True  # False: more of the prompt before it, or a filler that nothing is learned from
    record: Record | None = None  # what it was made from

    def __len__(self) -> int:
        return len(self.prompt_ids) + sum(len(response.ids) for response in self.responses)

    def with_responses(
        self, responses: list[list[int]], stop_ids: set[int], logps: list[list[float]] | None = None
    ) -> "Tree":
        """The prompt with sampled responses: they alone are learned from, and end where a stop token came."""
        return replace(
            self,
            prompt_learned=[False] * len(self.prompt_ids),
            responses=[
                Response(ids, ended=ids[-1] in stop_ids, sampled_logps=known)
                for ids, known in zip(responses, logps or [None] * len(responses), strict=True)
            ],
        )

    def branches(self) -> list["Tree"]:
        """The same responses, each in a tree of its own; a tree without any as it is."""
        if not self.responses:
            return [self]
        return [
            replace(self, responses=[response], new_prompt=self.new_prompt and k == 0)
            for k, response in enumerate(self.responses)
        ]


def pack(trees: Sequence[Tree], row_len: int) -> list[list[Tree]]:
    """Trees put into as few rows of `row_len` tokens as first-fit finds, those of a prompt together and in order."""
    of_prompt: list[list[Tree]] = []
    for tree in trees:
        if tree.new_prompt or not of_prompt:
            of_prompt.append([])
        of_prompt[-1].append(tree)
    rows: list[list[Tree]] = []
    for group in of_prompt:
        length = sum(map(len, group))
        row = next((row for row in rows if sum(map(len, row)) + length <= row_len), None)
        if row is None:
            rows.append(group)
        else:
            row += group
    return rows


def collate(
    rows: Sequence[Sequence[Tree]],
    pad_id: int,
    stack_vision: Callable[[list[dict[str, Tensor]]], dict[str, Tensor]],
    pad_left: bool = False,
) -> Batch:
    """Rows of trees to tensors, padded on the right, or on the left: there all prompts end at one place.

    One row with one prompt `[5 6]` and responses `[7 2]` and `[8 9 2]`:

    >>> tree = Tree("a", [5, 6], [False, False], [Response([7, 2]), Response([8, 9, 2])])
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
    # They go on behind the last token: transformers would take a start at 0 for another sequence.
    position_ids = torch.arange(length).repeat(len(rows), 1)
    branch = torch.full(shape, IN_PROMPT)
    tree_number = torch.full(shape, -1)
    label_ids: list[int] = []
    predictor: list[int] = []
    response_of_token: list[int] = []
    prompt_of_response: list[int] = []
    last_token: list[int] = []
    trees = [tree for row in rows for tree in row]
    responses = [response for tree in trees for response in tree.responses]
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
                    response_of_token.append(IN_PROMPT)
            for k, tokens in enumerate(response.ids for response in tree.responses):
                first = base + len(ids)
                label_ids += tokens
                predictor += [base + prompt_len - 1, *range(first, first + len(tokens) - 1)][: len(tokens)]
                response_of_token += [len(last_token)] * len(tokens)
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
        response=torch.tensor(response_of_token, dtype=torch.long),
        prompt_of_response=torch.tensor(prompt_of_response, dtype=torch.long),
        last_token=torch.tensor(last_token, dtype=torch.long),
        lengths=torch.tensor([len(response.ids) for response in responses], dtype=torch.long),
        ended=torch.tensor([response.ended for response in responses], dtype=torch.bool),
        scores=torch.tensor([response.score for response in responses], dtype=torch.float),
        ref_logps=torch.tensor([response.ref_logp for response in responses], dtype=torch.float),
        kind=torch.tensor([response.kind for response in responses], dtype=torch.long),
        aspect=torch.tensor([response.aspect for response in responses], dtype=torch.long),
        vision=stack_vision([tree.vision for tree in trees if tree.vision]),
        is_causal=all(len(row) == 1 and len(row[0].responses) <= 1 for row in rows),
        causal_len=0 if pad_left else min(len(row[0].prompt_ids) for row in rows),
        pad_left=pad_left,
    )
