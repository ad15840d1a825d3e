"""Compiled layers give what the layers as they are written give, and are not compiled again and again."""

import pytest
import torch
from torch._dynamo.utils import counters
from transformers import LlamaConfig, LlamaModel

from tests.conftest import RECORDS
from training.utils.config.flags import ConfigError
from training.utils.config.stage_config import SFTConfig
from training.utils.data.loader import Collator
from training.utils.data.record import DataError
from training.utils.data.tree import Response, Tree, collate
from training.utils.model.generate import Sampling, generate
from training.utils.model.kernels import compile_layers, fuse_kernels
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.model.tree_attention import use_tree_attention


def flags(**more) -> SFTConfig:
    return SFTConfig(from_checkpoint="x", data_path="x", output_dir="x", **more)


def llama(num_layers: int) -> LlamaModel:
    """Two layers share the graphs of one."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = LlamaModel(LlamaConfig(**sizes, num_hidden_layers=num_layers, vocab_size=100))
    use_tree_attention(model)
    return model.train()


def trees(number: int, prompt_len: int, *response_lens: int):
    """A batch of prompts that differ in length, with their responses."""
    rows = [
        [
            Tree(
                str(row),
                [5] * (prompt_len + row),
                [False] * (prompt_len + row),
                [Response([7 + k] * length) for k, length in enumerate(response_lens)],
            )
        ]
        for row in range(number)
    ]
    return collate(rows, 0, lambda parts: {})


def loss_and_gradients(model, batch):
    model.zero_grad()
    hidden = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
    ).last_hidden_state
    weights = torch.arange(len(batch.predictor))[:, None] / len(batch.predictor)
    loss = (hidden.flatten(0, 1)[batch.predictor] ** 2 * weights).mean()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=0)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-5, rtol=1e-4)


# Trees, one response each (no mask), short prompts (no causal part), other numbers of everything.
BATCHES = [
    trees(2, 70, 5, 6),
    trees(2, 70, 5),
    trees(3, 80, 4, 9),
    trees(5, 20, 9, 12, 3),
    trees(6, 90, 30),
]


@pytest.mark.parametrize("recomputes", [False, True], ids=["plain", "gradient_checkpointing"])
def test_no_graph_is_compiled_after_the_third_shape_of_a_batch(recomputes):
    model = llama(2)
    expected = [loss_and_gradients(model, batch) for batch in BATCHES]
    if recomputes:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    torch._dynamo.reset()
    counters.clear()
    compile_layers(model, backend="aot_eager")
    graphs = []
    for batch, known in zip(BATCHES, expected, strict=True):
        assert_same(loss_and_gradients(model, batch), known)
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] > 0 and graphs[2:] == [graphs[2]] * len(graphs[2:])


def test_kernels_of_a_compiler_give_the_same_loss_and_gradients():
    model = llama(1)
    expected = loss_and_gradients(model, BATCHES[0])
    fuse_kernels(model, flags(compile=True))
    torch._dynamo.reset()
    counters.clear()
    assert_same(loss_and_gradients(model, BATCHES[0]), expected)
    assert counters["stats"]["unique_graphs"] > 0


def test_a_compiled_policy_gives_the_same_log_probabilities_and_samples_the_same(model, encoder):
    policy = Policy(model, Llava())
    use_tree_attention(model.model.language_model)
    batch = Collator(encoder, True)([encoder.encode(record) for record in RECORDS])
    prompts = [encoder.encode(RECORDS[0])]
    sampling = Sampling(max_new_tokens=4, temperature=0.0, stop_ids=(encoder.end_id,))
    with torch.no_grad():
        expected, answers = policy(batch), generate(policy, prompts, sampling, 1)
    torch._dynamo.reset()
    counters.clear()
    compile_layers(model.model.language_model, backend="aot_eager")
    with torch.no_grad():
        assert generate(policy, prompts, sampling, 1) == answers
        torch.testing.assert_close(policy(batch), expected, atol=1e-5, rtol=0)
    assert counters["stats"]["unique_graphs"] > 0


def test_liger_kernel_without_a_gpu_is_left_out_or_refused():
    model = llama(1)
    before = model.layers[0].mlp.forward
    fuse_kernels(model, flags())
    assert model.layers[0].mlp.forward == before
    if not torch.cuda.is_available():
        with pytest.raises(
            DataError, match="--fused_kernels on: liger-kernel's kernels need a GPU; use --compile"
        ):
            fuse_kernels(model, flags(fused_kernels="on"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"fused_kernels": "yes"}, "--fused_kernels yes: unknown; expected auto, on or off"),
        ({"fused_kernels": "on", "compile": True}, "--compile: not with --fused_kernels on"),
        ({"zero_stage": 3, "compile": True}, "--compile: not with --zero_stage 3"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        flags(**more)
