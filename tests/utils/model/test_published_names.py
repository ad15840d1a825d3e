"""Checkpoints as they were published, before transformers renamed the modules, load whole."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText

from tests.tiny_families import build_tiny
from tests.utils.model.test_legacy_weights import LLAVA, renamed

# How the index of the published checkpoints (llava-hf, meta-llama, Qwen) calls what a module is called today.
PUBLISHED = {
    "llava": LLAVA,
    "llava_next": LLAVA | {"model.image_newline": "image_newline"},
    "llama-3.2-vision": {
        "model.language_model.": "language_model.model.",
        "lm_head.": "language_model.lm_head.",
        "model.vision_model.": "vision_model.",
        "model.multi_modal_projector.": "multi_modal_projector.",
    },
    "qwen2_5_vl": {"model.language_model.": "model.", "lm_head.": "lm_head.", "model.visual.": "visual."},
}
# One name of each part, letter by letter as published.
EXAMPLES = {
    "llava": [
        "language_model.model.layers.0.self_attn.q_proj.weight",
        "vision_tower.vision_model.encoder.layers.0.self_attn.out_proj.bias",
        "vision_tower.vision_model.pre_layrnorm.weight",
        "multi_modal_projector.linear_1.weight",
        "language_model.lm_head.weight",
    ],
    "llava_next": ["image_newline", "language_model.model.norm.weight"],
    "llama-3.2-vision": [
        "language_model.model.layers.1.cross_attn_attn_gate",
        "vision_model.global_transformer.layers.0.gate_attn",
        "vision_model.gated_positional_embedding.tile_embedding.weight",
        "multi_modal_projector.bias",
    ],
    "qwen2_5_vl": [
        "model.layers.0.self_attn.q_proj.bias",
        "visual.blocks.0.attn.qkv.weight",
        "visual.merger.mlp.2.weight",
        "visual.patch_embed.proj.weight",
    ],
}


@pytest.mark.parametrize("family", PUBLISHED)
def test_every_tensor_of_a_published_checkpoint_finds_its_place(family, tmp_path):
    folder = build_tiny(family, tmp_path / "model")
    model = AutoModelForImageTextToText.from_pretrained(folder)
    weights = {old: tensor + 1 for old, tensor in renamed(model, PUBLISHED[family]).items()}
    assert set(EXAMPLES[family]) <= weights.keys()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    loaded, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    found = renamed(loaded, PUBLISHED[family])
    assert found.keys() == weights.keys()
    for old, tensor in weights.items():
        assert torch.equal(found[old], tensor), old
