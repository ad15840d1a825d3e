"""A tree of responses is worth as much as separate rows."""

import doctest

import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from tests.conftest import RECORDS
from training.utils.data import tree as tree_module
from training.utils.data.loader import Collator
from training.utils.data.tree import pack
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.model.value_head import ValueModel

TOLERANCE = 1e-5


def test_the_worked_example_in_the_docstring_is_right():
    assert doctest.testmod(tree_module).failed == 0


def by_response(values, batch):
    """Values of each response's tokens, in the order of the responses."""
    return [values[batch.response == number] for number in range(batch.num_responses)]


@pytest.fixture
def trees(encoder):
    return [encoder.encode(record) for record in RECORDS]


@pytest.fixture
def collate(encoder):
    return Collator(encoder, has_images=True)


def separately(trees):
    return [branch for tree in trees for branch in tree.branches()]


def test_log_probabilities_and_gradients_of_branches_equal_those_of_separate_rows(model, trees, collate):
    policy = Policy(model, Llava())
    together = collate(trees)
    logps = by_response(policy(together), together)
    alone = [collate([tree]) for tree in separately(trees)]
    expected = [policy(batch)[batch.response >= 0] for batch in alone]
    for one, other in zip(logps, expected, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=0)

    weight = model.model.language_model.embed_tokens.weight
    (gradient,) = torch.autograd.grad(torch.cat(logps).sum(), weight)
    (expected_gradient,) = torch.autograd.grad(torch.cat(expected).sum(), weight)
    torch.testing.assert_close(gradient, expected_gradient, atol=TOLERANCE, rtol=1e-4)


def test_packing_and_batch_mates_change_nothing(model, encoder, trees):
    policy = Policy(model, Llava())
    rows, packed = Collator(encoder, True)(trees), Collator(encoder, True, packing=True)(trees[::-1])
    assert packed.input_ids.shape[0] < rows.input_ids.shape[0]
    expected = {name: value for name, value in zip(rows.ids, per_prompt(policy(rows), rows), strict=True)}
    for name, values in zip(packed.ids, per_prompt(policy(packed), packed), strict=True):
        torch.testing.assert_close(values, expected[name], atol=TOLERANCE, rtol=0)


def per_prompt(values, batch):
    sums = by_response(values, batch)
    return [
        torch.stack(
            [s.sum() for s, prompt in zip(sums, batch.prompt_of_response, strict=True) if prompt == number]
        )
        for number in range(batch.num_prompts)
    ]


def test_scores_of_branches_equal_those_of_separate_rows(model, trees, collate):
    value_model = ValueModel(model, Llava())
    batch = collate(trees)
    scores = value_model(batch, batch.last_token)
    alone = [collate([tree]) for tree in separately(trees)]
    expected = torch.cat([value_model(b, b.last_token) for b in alone])
    torch.testing.assert_close(scores, expected, atol=TOLERANCE, rtol=0)


def test_another_picture_changes_log_probabilities_and_scores(model, encoder, trees, collate):
    policy, value_model = Policy(model, Llava()), ValueModel(model, Llava())
    batch = collate(trees[:1])
    swapped = collate(trees[:1])
    swapped.vision = {name: tensor.flip(-1) for name, tensor in swapped.vision.items()}
    assert (policy(batch) - policy(swapped)).abs().max() > 1e-4
    assert (
        value_model(batch, batch.last_token) - value_model(swapped, swapped.last_token)
    ).abs().max() > 1e-6


def test_a_batch_without_images_gives_the_projector_a_gradient_of_zero(model, trees, collate):
    policy = Policy(model, Llava())
    policy(collate(trees[2:])).sum().backward()
    gradients = [p.grad for p in model.model.multi_modal_projector.parameters()]
    assert all(gradient is not None and gradient.abs().max() == 0 for gradient in gradients)


def test_rows_are_filled_first_fit(trees):
    lengths = [len(tree) for tree in trees]
    rows = pack(trees, row_len=lengths[0] + lengths[2])
    assert [[len(tree) for tree in row] for row in rows] == [[lengths[0], lengths[2]], [lengths[1]]]


def test_a_loader_pins_every_tensor_of_a_batch(trees, collate, monkeypatch):
    """As a DataLoader does it: it asks what it loaded to pin itself."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    batch, failures = pin_memory((collate(trees), []))
    assert (
        len(pinned) == len(batch.vision) + sum(isinstance(v, torch.Tensor) for v in vars(batch).values()) > 10
    )
    assert failures == [] and batch.ids == [tree.id for tree in trees]
