"""Checkpoints as they were published, before transformers renamed the modules, load whole; ours are saved alike."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from tests.conftest import ROOT
from tests.tiny_families import BUILDERS, aya_vision, build_tiny
from tests.utils.model.test_legacy_weights import LLAVA, renamed
from training.utils.model import save
from training.utils.model.build_model import FAMILIES
from training.utils.model.other import OtherFamily
from training.utils.model.save import names_in_files, save_model

# What transformers 4.57 calls the tensors of these checkpoints, as their indexes on the hub do; layers by `*`. The
# towers of SigLIP on the hub are without the head that pools.
TENSORS = sorted((ROOT / "tests" / "published" / "tensors").glob("*.json"))
HEAD = ".vision_model.head."

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


def saved(family, model, folder):
    """What `save_model` writes, and that plain transformers reads all of it again."""
    save_model(family, model, folder, model.state_dict())
    loaded, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    found = loaded.state_dict()
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("file", TENSORS, ids=lambda file: file.stem)
def test_a_model_is_saved_by_the_published_names_wherever_it_came_from(file, tmp_path):
    fact = json.loads(file.read_text())
    build, family = BUILDERS[fact["family"]][0], FAMILIES[fact["family"].partition(":")[0]]
    built, _ = build()
    built.save_pretrained(tmp_path / "before", save_original_format=False)  # by the names of the modules
    files = saved(family, built, tmp_path / "built")
    from_before = family.load_model(str(tmp_path / "before"))
    assert saved(family, from_before, tmp_path / "again").keys() == files.keys()
    names = {re.sub(r"\.\d+(?=\.)", ".*", name) for name in files if HEAD not in name}
    lacks = set() if built.lm_head.weight is not built.get_input_embeddings().weight else {"lm_head.weight"}
    published = {name for name in fact["names"] if name.removeprefix("language_model.") not in lacks}
    assert names == published
    there = names_in_files(family, built)
    weights = {name: tensor for name, tensor in built.state_dict().items() if there.get(name) in files}
    assert all(torch.equal(files[there[name]], tensor) for name, tensor in weights.items())
    assert len(weights) + (4 if fact["family"] == "qwen3_vl_moe" else 0) == len(
        files
    )  # its experts are turned


@pytest.mark.parametrize("names", [LLAVA, {"": ""}], ids=["published", "today's"])
def test_an_untested_model_keeps_the_names_of_its_file(names, tmp_path):
    """Which of transformers' conversions are for published files of it, nobody has looked."""
    built, _ = aya_vision()
    built.save_pretrained(tmp_path / "file")
    weights = renamed(built, names)
    weights = {name: tensor for name, tensor in weights.items() if "lm_head" not in name}  # the embedding's
    save_file(weights, tmp_path / "file" / "model.safetensors", metadata={"format": "pt"})
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "file")
    assert saved(OtherFamily(), model, tmp_path / "again").keys() == weights.keys()


def test_experts_whose_shape_does_not_tell_whether_they_are_turned_are_left_as_they_are(tmp_path):
    """transformers looks at the shape when it loads them."""
    config = BUILDERS["qwen3_vl_moe"][0]()[0].config
    config.text_config.moe_intermediate_size = config.text_config.hidden_size // 2
    model = AutoModelForImageTextToText.from_config(config)
    files = saved(FAMILIES["qwen3_vl_moe"], model, tmp_path)
    name = "model.language_model.layers.0.mlp.experts.gate_up_proj"
    assert torch.equal(files[name], model.get_parameter(name))


def test_large_models_are_saved_in_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(save, "SHARD", "100KB")
    model, _ = BUILDERS["llava"][0]()
    save_model(FAMILIES["llava"], model, tmp_path, model.state_dict())
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 1 and "language_model.lm_head.weight" in index
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())
