"""Memory of a training run on each GPU, from a model's config alone: no weights are read or made.

    python -m scripts.plan_memory --from_checkpoint models/llava-1.5-7b-hf --stage ppo --zero_stage 3 --num_gpus 8

Flags have the names that the stages give them. Sizes are in GiB. Weights, gradients and optimizer state follow from
the number of parameters (arXiv 1910.02054, section 3); activations are estimated from the layers' shapes, in the
manner of arXiv 2205.05198, section 4, with a fused attention kernel. What the allocator loses and what libraries take
comes on top: plan with a tenth to spare.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedModel

from training.utils.checkpoint import resolve_checkpoint
from training.utils.command import run_command
from training.utils.flags import flag
from training.utils.model.build_model import get_family
from training.utils.model.family import Family
from training.utils.model.logps import CHUNK_LEN
from training.utils.model.lora import add_lora
from training.utils.model.read_config import read_config

GIB = 2**30
BYTES = 2  # of a weight or an activation: bf16
GRADIENT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
OPTIMIZER_BYTES = 12  # of a trained weight: an fp32 copy and AdamW's two moments
# The models of each stage: name, whether it is trained, whether it has an lm_head that is used.
MODELS = {
    "sft": [("policy", True, True)],
    "rm": [("reward model", True, False)],
    "dpo": [("policy", True, True), ("reference", False, True)],
    "ppo": [
        ("actor", True, True),
        ("reference", False, True),
        ("critic", True, False),
        ("reward model", False, False),
    ],
}


@dataclass(frozen=True)
class PlanConfig:
    from_checkpoint: str = flag(
        help="Model folder, of which config.json is read, or a stage's output folder."
    )
    stage: str = flag("sft", "sft, rm, dpo or ppo.", choices=list(MODELS))
    num_gpus: int = flag(8, "GPUs of all nodes together.")
    zero_stage: int = flag(2, "DeepSpeed ZeRO stage of all models, 0 to 3.")
    grad_accum_dtype: str = flag(
        "fp32", "Precision that gradients are added up in with ZeRO 1 and up.", choices=list(GRADIENT_BYTES)
    )
    offload: bool = flag(False, "Optimizer state in CPU memory (ZeRO 1 and up).")
    offload_params: bool = flag(False, "Weights in CPU memory (ZeRO 3).")
    vis_encoder_update: bool = flag(False, "Train the vision tower.")
    lang_lora_dim: int = flag(0, "Rank of LoRA adapters of the language model; 0: all of it is trained.")
    lang_lora_module_name: str = flag("layers.", "Linear layers of the language model that get adapters.")
    gradient_checkpointing: bool = flag(True, "Recompute activations in the backward pass.")
    per_device_train_batch_size: int = flag(4, "Prompts of a micro-batch on each GPU.")
    prompt_len: int = flag(640, "Tokens of a prompt, its images' included.")
    num_responses: int = flag(2, "Responses of a prompt: 1 for SFT, answers to rank, samples of PPO.")
    response_len: int = flag(256, "Tokens of a response.")

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch: each prompt once, with all its responses."""
        return self.per_device_train_batch_size * (self.prompt_len + self.num_responses * self.response_len)


@dataclass(frozen=True)
class Parameters:
    """How many, by part; `trained` are those that get gradients."""

    vision: int
    projector: int
    language: int
    trained: int

    @property
    def total(self) -> int:
        return self.vision + self.projector + self.language


def build_on_meta(folder: str | Path) -> PreTrainedModel:
    """The model of a config, without memory for its weights."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(read_config(folder))


def count(model: PreTrainedModel, family: Family, config: PlanConfig, has_lm_head: bool) -> Parameters:
    """Parameters of a model, and how many of them a stage trains: always the projector, see `family.freeze`."""

    def size(parameters) -> int:
        return sum(p.numel() for p in {id(p): p for p in parameters}.values())

    projector = {
        id(p): p
        for part in family.projector(model)
        for p in (part.parameters() if isinstance(part, nn.Module) else [part])
    }
    tower = [p for p in family.tower(model).parameters() if id(p) not in projector]
    language = size(model.parameters()) - size(tower) - size(projector.values())
    if not has_lm_head and model.lm_head.weight is not model.get_input_embeddings().weight:
        language -= model.lm_head.weight.numel()  # set aside in CPU memory
    trained = size(projector.values()) + (size(tower) if config.vis_encoder_update else 0)
    if config.lang_lora_dim:
        part = family.language_model(model)
        add_lora(part, config.lang_lora_dim, 0, config.lang_lora_module_name)
        trained += size(p for name, p in part.named_parameters() if ".lora_" in name)
    else:
        trained += language
    return Parameters(size(tower), size(projector.values()), language, trained)


def activations(model: PreTrainedModel, config: PlanConfig, is_trained: bool, has_lm_head: bool) -> float:
    """Bytes of the language model's activations in a micro-batch, and of a chunk of logits."""
    text = model.config.get_text_config()
    heads, kv_heads = text.num_attention_heads, getattr(text, "num_key_value_heads", None)
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    attention = 2 * (heads + (kv_heads or heads)) * head_size
    layer = BYTES * (4 * text.hidden_size + attention + 4 * text.intermediate_size)  # of a token
    kept = text.num_hidden_layers if is_trained else 1
    if is_trained and config.gradient_checkpointing:
        stack = kept * BYTES * text.hidden_size + layer
    else:
        stack = kept * layer
    learned = config.per_device_train_batch_size * config.num_responses * config.response_len
    logits = 2 * 4 * text.vocab_size * min(CHUNK_LEN, learned) if has_lm_head else 0  # and their gradient
    return config.tokens * stack + logits


def plan(config: PlanConfig) -> list[tuple[str, Parameters, dict[str, float]]]:
    """For each model its parameters, and GiB on each GPU by purpose."""
    checkpoint = resolve_checkpoint(config.from_checkpoint)
    family = get_family("auto", checkpoint)
    shares = [config.num_gpus if config.zero_stage >= stage else 1 for stage in (3, 2, 1)]
    rows = []
    for number, (name, is_trained, has_lm_head) in enumerate(MODELS[config.stage]):
        model = build_on_meta(checkpoint)
        memory = {"activations": activations(model, config, is_trained, has_lm_head)}
        parameters = count(model, family, config, has_lm_head)
        if not is_trained:
            parameters = replace(parameters, trained=0)
        trained = parameters.trained
        # A frozen tower is whole on each GPU, and the models of a stage share one.
        tower = 0 if config.vis_encoder_update else parameters.vision
        adapters = trained if config.lang_lora_dim else 0
        weights = (
            0 if config.offload_params and config.zero_stage == 3 else parameters.total - tower + adapters
        )
        memory["weights"] = BYTES * (weights / shares[0] + (tower if number == 0 else 0))
        # Without ZeRO they stay with the weights, in the same precision.
        gradient_bytes = GRADIENT_BYTES[config.grad_accum_dtype] if config.zero_stage > 0 else BYTES
        memory["gradients"] = gradient_bytes * trained / shares[1]
        offloaded = config.offload and config.zero_stage > 0
        memory["optimizer"] = 0 if offloaded else OPTIMIZER_BYTES * trained / shares[2]
        rows.append((name, parameters, {purpose: size / GIB for purpose, size in memory.items()}))
    return rows


def main(config: PlanConfig) -> None:
    purposes = ("weights", "gradients", "optimizer", "activations")
    print(f"{'':14}{'parameters':>16}{'trained':>16}" + "".join(f"{p:>13}" for p in purposes))
    rows = plan(config)
    for name, parameters, memory in rows:
        sizes = "".join(f"{memory[p]:13.2f}" for p in purposes)
        print(f"{name:14}{parameters.total:16,}{parameters.trained:16,}{sizes}")
    # Activations of one model at a time: each is done with them before the next begins.
    held = sum(memory[p] for _, _, memory in rows for p in purposes[:3])
    peak = held + max(memory["activations"] for _, _, memory in rows)
    print(f"{peak:.1f} GiB on each of {config.num_gpus} GPUs, {held:.1f} of them all the time")


if __name__ == "__main__":
    run_command(main, PlanConfig)
