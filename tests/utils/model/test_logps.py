"""Log-probabilities in chunks."""

import torch
from torch import nn

from training.utils.model.logps import token_logps


def reference_logps(hidden, head, labels, temperature=1.0):
    return (head(hidden) / temperature).log_softmax(-1)[torch.arange(len(labels)), labels]


def test_values_and_gradients_equal_the_plain_log_softmax():
    head = nn.Linear(8, 50, bias=False)
    labels = torch.randint(50, (23,))
    for temperature in (1.0, 0.7):
        hidden = torch.randn(23, 8, requires_grad=True)
        ours = token_logps(hidden, head, labels, temperature, chunk_len=5)
        expected = reference_logps(hidden, head, labels, temperature)
        torch.testing.assert_close(ours, expected)
        weights = torch.randn(23)
        ours_gradient = torch.autograd.grad((ours * weights).sum(), [hidden, head.weight])
        expected_gradient = torch.autograd.grad((expected * weights).sum(), [hidden, head.weight])
        torch.testing.assert_close(ours_gradient, expected_gradient)


def test_no_more_than_one_chunk_of_logits_is_kept_for_the_backward_pass():
    """What autograd saves, in numbers: hidden states and labels, but not tokens times vocabulary."""
    vocabulary, tokens = 4000, 512
    head = nn.Linear(8, vocabulary, bias=False)
    saved = []

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        token_logps(
            torch.randn(tokens, 8, requires_grad=True), head, torch.randint(vocabulary, (tokens,)), 1.0, 32
        )
    assert max(saved, default=0) <= vocabulary * 32
    assert sum(saved) < tokens * vocabulary / 4


def test_no_tokens_give_no_log_probabilities():
    head = nn.Linear(8, 50)
    assert token_logps(torch.zeros(0, 8), head, torch.zeros(0, dtype=torch.long)).shape == (0,)
