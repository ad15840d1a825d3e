"""Activations of a language model, from the shapes of its layers (in the manner of arXiv 2205.05198, section 4).

Attention is a fused kernel: no T x T matrix is kept.
"""

from transformers import PretrainedConfig

from scripts.memory_plan.config import PlanConfig
from training.utils.model.logps import CHUNK_LEN


def of_token(text: PretrainedConfig, size: int) -> int:
    """Bytes that one layer keeps of a token for the backward pass, `size` bytes a number.

    RMSNorm computes in fp32: it keeps its input and the normalised states in fp32 or as they are, and its output.
    """
    heads = text.num_attention_heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    norms = 2 * (4 + 2 * size) * text.hidden_size
    attention = size * 2 * (heads + kv_heads) * head_size
    mlp = size * 4 * text.intermediate_size
    return norms + attention + mlp


def in_training(text: PretrainedConfig, config: PlanConfig, has_lm_head: bool) -> float:
    """Bytes at the beginning of the backward pass of a micro-batch, where there are most."""
    size = config.weight_bytes
    layer = of_token(text, size)
    if config.gradient_checkpointing:
        kept = text.num_hidden_layers * size * text.hidden_size
        stack = (0 if config.offload_activations else kept) + layer
    else:
        stack = layer if config.offload_activations else text.num_hidden_layers * layer
    working = size * (4 * text.hidden_size + 2 * text.intermediate_size)  # gradients within a layer
    return config.tokens * (stack + working) + (logits(text, config.learned, config) if has_lm_head else 0)


def without_gradients(text: PretrainedConfig, config: PlanConfig, has_lm_head: bool) -> float:
    """Bytes of one layer at a time, and of a chunk of logits."""
    return config.tokens * of_token(text, config.weight_bytes) + (
        logits(text, config.learned, config) if has_lm_head else 0
    )


def logits(text: PretrainedConfig, tokens: int, config: PlanConfig) -> float:
    """Bytes of a chunk of logits: in the model's precision, in fp32, and their log-probabilities or gradients."""
    return (config.weight_bytes + 8) * text.vocab_size * min(CHUNK_LEN, tokens)


def of_sampling(text: PretrainedConfig, config: PlanConfig) -> float:
    """Bytes of generation: keys and values of the prompts that are answered at a time and of their samples, and the
    next logits in fp64."""
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    cache = 2 * text.num_hidden_layers * heads * head_size * config.weight_bytes
    prompts = config.prompts_at_a_time
    return prompts * (config.tokens_of_prompt * cache + config.num_responses * text.vocab_size * 24)
