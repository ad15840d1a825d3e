"""What only a GPU can tell of trees: FlexAttention's kernels, forward and backward, and 16 bits.

`python -m pytest tests/gpu`; without a GPU all of it is skipped. Kernels are compiled at first use: a minute or so.
"""

import copy

import pytest
import torch
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from training.utils.data.tree import Response, Tree, collate
from training.utils.losses.responses import segment_sum
from training.utils.model import tree_attention as tree_attention_file
from training.utils.model.flex_attention import flex_attention_serves
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.model.tree_attention import IN_BLOCKS, tree_attention, use_tree_attention

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
IMAGE_ID, NUM_IMAGE_TOKENS = 3, 16


@pytest.fixture(autouse=True)
def _short_rows_too(monkeypatch):
    monkeypatch.setattr(tree_attention_file, "MIN_BLOCKS_LEN", 0)


def tree(prompt_len, *response_lens):
    """Random words behind a picture."""
    words = torch.randint(4, 500, (prompt_len + sum(response_lens),)).tolist()
    responses = [[words.pop() for _ in range(length)] for length in response_lens]
    prompt = [1, *[IMAGE_ID] * NUM_IMAGE_TOKENS, *words]
    return Tree(
        "x",
        prompt,
        [False] * len(prompt),
        [Response(ids) for ids in responses],
        {"pixel_values": torch.randn(1, 3, 32, 32)},
    )


def rows():
    """Of trees, of several in a row, of one response, and padded; lengths that are no whole blocks."""
    return [
        [tree(300, 90, 200, 1)],
        [tree(140, 128, 30), tree(40, 5, 7)],
        [tree(500, 60)],
    ]


def batch_of(trees):
    return collate(trees, 0, Llava().stack_vision).to("cuda")


@pytest.mark.parametrize("heads", [(8, 8), (8, 2), (28, 4)], ids=["all", "groups", "groups of 28 heads"])
@pytest.mark.parametrize("head_size", [64, 128])
def test_outputs_and_gradients_are_as_near_to_those_in_32_bits_as_sdpa_s(heads, head_size):
    """Of queries, keys and values, through the mask in blocks and through that of all pairs."""
    torch.manual_seed(0)
    batch = batch_of(rows())
    on = batch.is_token
    layer = nn.Module()
    layer.num_key_value_groups = heads[0] // heads[1]
    states = [torch.randn(3, n, on.shape[1], head_size, device="cuda") for n in (*heads, heads[1])]
    cotangent = torch.randn(*on.shape, heads[0], head_size, device="cuda")[on]

    def results(attend, mask, dtype):
        inputs = [state.to(dtype).requires_grad_() for state in states]
        output, _ = attend(layer, *inputs, mask, scaling=head_size**-0.5)
        return [output[on], *torch.autograd.grad(output[on], inputs, cotangent.to(dtype))]

    exact = results(sdpa_attention_forward, batch.attention_mask, torch.float32)
    sdpa = results(sdpa_attention_forward, batch.attention_mask, torch.bfloat16)
    flex = results(tree_attention, batch.block_mask, torch.bfloat16)
    for name, true, theirs, ours in zip(("output", "query", "key", "value"), exact, sdpa, flex, strict=True):
        error, allowed = (ours - true).norm() / true.norm(), (theirs - true).norm() / true.norm()
        assert error < 1.5 * allowed + 1e-3, name


@pytest.fixture(scope="module")
def llava():
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    text = LlamaConfig(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=512,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_ID)
    return LlavaForConditionalGeneration(config).to("cuda")


def logps_and_gradients(model, dtype, by_blocks, trees):
    """Of each response, and of all weights of the language model as one vector."""
    model = copy.deepcopy(model).to(dtype)
    part = Llava().language_model(model)
    use_tree_attention(part, by_blocks)
    policy = Policy(model, Llava())
    batch = batch_of(trees)
    logps = segment_sum(policy(batch).float(), batch.response, batch.num_responses)
    (logps / batch.lengths).sum().backward()
    return logps.detach() / batch.lengths, torch.cat([p.grad.float().flatten() for p in part.parameters()])


def test_a_model_in_16_bits_is_served_by_it(llava):
    assert flex_attention_serves(llava.config.text_config, torch.bfloat16, drops_out=True)


def test_trees_in_16_bits_are_separate_rows(llava):
    """By FlexAttention: no further from rows in 32 bits than rows in 16 bits are."""
    torch.manual_seed(1)
    trees = rows()
    separate = [[branch] for row in trees for one in row for branch in one.branches()]
    exact = logps_and_gradients(llava, torch.float32, False, separate)
    in_rows = logps_and_gradients(llava, torch.bfloat16, False, separate)
    in_trees = logps_and_gradients(llava, torch.bfloat16, True, trees)
    for name, true, theirs, ours in zip(("logps", "gradients"), exact, in_rows, in_trees, strict=True):
        error, allowed = (ours - true).norm() / true.norm(), (theirs - true).norm() / true.norm()
        assert error < 2 * allowed, (name, error, allowed)


def test_lengths_that_change_compile_a_few_kernels_and_no_more(llava):
    """Past torch's limit of compilations the rest would run as plain operations, with all pairs in memory."""
    model = copy.deepcopy(llava).to(torch.bfloat16)
    use_tree_attention(Llava().language_model(model), by_blocks=True)
    policy = Policy(model, Llava())

    def train(length):
        policy(batch_of([[tree(length, 30, length // 3)], [tree(length, 20, 9)]])).sum().backward()

    for length in (100, 220, 150, 420):
        train(length)
    with torch.compiler.set_stance("fail_on_recompile"):
        for length in (130, 333, 257, 500):
            train(length)
    assert model.model.language_model.config._attn_implementation == IN_BLOCKS
