"""From-scratch models of the original system: converted, they compute what it computed, by its own rules."""

import json

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate, silu
from transformers import AutoModelForImageTextToText, CLIPVisionModel, DynamicCache
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from tests.tiny_families import write_parts
from tests.utils.model.test_legacy_weights import FROM_SCRATCH, renamed
from tests.utils.model.test_mmca import IMAGE, SCALING, Module, batch_of, heads, trees
from training.utils.data.record import DataError
from training.utils.files.model_folder import read_metadata
from training.utils.model.assemble import AssembleConfig, assemble
from training.utils.model.legacy_mmca import legacy_attention
from training.utils.model.legacy_weights import ConvertConfig, convert, read_legacy
from training.utils.process.command import run_command

LAYERS, HEADS, KEYS, SIZE = 2, 4, 2, 12  # of the tiny language model
LOWEST = torch.finfo(torch.float32).min


class OriginalVit(nn.Module):
    def __init__(self, vision, size):
        super().__init__()
        self.vis_layer = CLIPEncoderLayer(vision)
        self.projection = baseline(vision, size)

    def forward(self, features):
        return self.projection(self.vis_layer(features, None))


class OriginalPerceiver(nn.Module):
    """One head, and 2 x 2 queries, whose positions are trained weights."""

    def __init__(self, vision, size):
        super().__init__()
        self.pos_embed, self.query = (nn.Parameter(torch.randn(4, size)) for _ in range(2))
        self.kv_proj = nn.Linear(vision.hidden_size, size)
        self.attn = nn.MultiheadAttention(size, 1)
        self.ln_q, self.ln_kv = nn.LayerNorm(size, eps=1e-12), nn.LayerNorm(size, eps=1e-12)
        self.projection = nn.Sequential(nn.LayerNorm(size, eps=1e-12), nn.Linear(size, size))

    def forward(self, features):
        values = self.ln_kv(self.kv_proj(features[0, 1:]))  # without the class token: 4 x 4 patches
        grid = self.pos_embed.reshape(2, 2, -1).permute(2, 0, 1)[None]
        places = (
            interpolate(grid, (4, 4), mode="bicubic", align_corners=False)[0].permute(1, 2, 0).flatten(0, 1)
        )
        bias, weight = self.attn.in_proj_bias.chunk(3), self.attn.in_proj_weight.chunk(3)
        query, key, value = (
            given @ weight[n].T + bias[n]
            for n, given in enumerate((self.ln_q(self.query) + self.pos_embed, values + places, values))
        )
        mixed = (query @ key.T / query.shape[1] ** 0.5).softmax(-1) @ value
        return self.projection(self.attn.out_proj(mixed))[None]


def baseline(vision, size):
    return nn.Sequential(nn.Linear(vision.hidden_size, size), nn.LayerNorm(size, eps=1e-12))


PROJECTIONS = {"baseline": baseline, "vit": OriginalVit, "perceiver": OriginalPerceiver}


def masks(kinds, mmca):
    """Additive masks of each softmax, for tokens of text (1) and of images (2)."""
    num = len(kinds)
    causal = torch.full((num, num), LOWEST).triu(1)
    if not mmca:
        return [causal]
    images, text = (torch.where(kinds == kind, 0, LOWEST).repeat(num, 1) for kind in (2, 1))
    for place in (kinds == 2).nonzero()[:, 0].tolist():
        images[place] = LOWEST
        images[place, place] = 0
    return [images + causal, text + causal]


def rotated(states):
    angles = torch.arange(states.shape[1])[:, None] / 10_000 ** (torch.arange(0, SIZE, 2) / SIZE)
    first, second = states.chunk(2, dim=-1)
    sin, cos = angles.sin(), angles.cos()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def normed(states, weight):
    return weight * states / (states.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()


def original_logits(weights, features, before, behind, mmca):
    """The original's decoder, [T, V], on text with the projected features of an image in it."""
    embed = weights["lang_embed.weight"]
    states = torch.cat([embed[before], features, embed[behind]])
    added = masks(torch.tensor([1] * len(before) + [2] * len(features) + [1] * len(behind)), mmca)
    for number in range(LAYERS):
        layer = {
            name.split("layers.0.")[1]: weights[name.replace("layers.0.", f"layers.{number}.")]
            for name in weights
            if name.startswith("lang_decoder.model.layers.0.")
        }
        given = normed(states, layer["input_layernorm.weight"])
        query, key, value = (
            (given @ layer[f"self_attn.{name}_proj.weight"].T).unflatten(1, (-1, SIZE)).transpose(0, 1)
            for name in "qkv"
        )
        key, value = (part.repeat_interleave(HEADS // KEYS, 0) for part in (rotated(key), value))
        scores = rotated(query) @ key.transpose(1, 2) / SIZE**0.5
        mixed = sum((scores + mask).softmax(-1) for mask in added) @ value
        states = states + mixed.transpose(0, 1).flatten(1) @ layer["self_attn.o_proj.weight"].T
        given = normed(states, layer["post_attention_layernorm.weight"])
        gate, up, down = (layer[f"mlp.{name}_proj.weight"].T for name in ("gate", "up", "down"))
        states = states + (silu(given @ gate) * (given @ up)) @ down
    return (
        normed(states, weights["lang_decoder.model.norm.weight"]) @ weights["lang_decoder.lm_head.weight"].T
    )


def write_original(folder, projector, mmca, arguments=()):
    """Parts, the base that they make, and a checkpoint as the original wrote it; its weights and projection too."""
    lm, clip = write_parts(folder)
    config = json.loads((folder / "lm" / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 500_000.0}  # as LLaMA-3's
    (folder / "lm" / "config.json").write_text(json.dumps(config))
    parts = AssembleConfig(lm, clip, projector, num_queries=4, enable_mmca_attention=mmca)
    assemble(parts, str(folder / "base"), seed=0)
    base = AutoModelForImageTextToText.from_pretrained(folder / "base")
    vision, size = base.config.vision_config, base.config.text_config.hidden_size
    projection = PROJECTIONS[projector](vision, size).requires_grad_(False)
    nn.init.normal_(projection.get_parameter("1.bias" if projector == "baseline" else "projection.1.bias"))
    weights = {k: v for k, v in renamed(base, FROM_SCRATCH).items() if not k.startswith("projection.")}
    weights |= {f"projection.{name}": tensor for name, tensor in projection.state_dict().items()}
    weights["lang_embed.weight"] = weights["lang_decoder.model.embed_tokens.weight"] + 0.1
    (folder / "old").mkdir()
    torch.save(weights, folder / "old" / "pytorch_model.bin")
    if arguments:
        torch.save(dict(arguments), folder / "old" / "train_args.pt")
    return weights, projection


@torch.no_grad()
@pytest.mark.parametrize(
    ("projector", "mmca"), [("baseline", True), ("vit", False), ("perceiver", True)], ids=str
)
def test_a_converted_model_computes_what_the_original_computed(projector, mmca, tmp_path, capsys):
    weights, projection = write_original(tmp_path, projector, mmca)
    new = str(tmp_path / "new")
    config = ConvertConfig(str(tmp_path / "old"), str(tmp_path / "base"), new, template="legacy_llama_3")
    convert(config)
    said = capsys.readouterr().out
    assert (
        "rotary base: 10,000, which the original always used, in place of the language model's own 500,000"
        in said
    )
    assert ("attention: MMCA as the original computed it" in said) == mmca
    assert read_metadata(tmp_path / "new") == {"template": "legacy_llama_3"}

    model = AutoModelForImageTextToText.from_pretrained(new).eval()
    pixels = torch.randn(1, 3, 32, 32)
    clip = CLIPVisionModel.from_pretrained(tmp_path / "clip")
    features = projection(clip(pixels).last_hidden_state)[0]
    before, behind = [1, 40, 41, 42], [50, 51, 52, 53, 54]
    expected = original_logits(weights, features, before, behind, mmca)
    ids = torch.tensor([[*before, *[model.config.image_token_id] * len(features), *behind]])
    found = model(input_ids=ids, pixel_values=pixels).logits[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)

    # A token at a time, as answers are generated.
    cache = DynamicCache()
    model(input_ids=ids[:, :-2], pixel_values=pixels, past_key_values=cache)
    steps = [model(input_ids=ids[:, [n]], past_key_values=cache).logits[0, 0] for n in (-2, -1)]
    torch.testing.assert_close(torch.stack(steps), expected[-2:], atol=1e-5, rtol=0)

    if projector == "baseline":  # as the paper has it, which is another function
        convert(
            ConvertConfig(config.weights, config.base, str(tmp_path / "paper"), "legacy_llama_3", "paper")
        )
        assert "MMCA as in its paper, which is not what the model was trained with" in capsys.readouterr().out
        paper = AutoModelForImageTextToText.from_pretrained(tmp_path / "paper").eval()
        assert (paper(input_ids=ids, pixel_values=pixels).logits[0] - expected).abs().max() > 1e-3


def test_a_base_of_other_parts_than_the_model_was_trained_with_is_refused_in_one_line(
    tmp_path, monkeypatch, capsys
):
    arguments = {"enable_mmca_attention": True, "vis_proj": "baseline", "template": "llama_2"}
    write_original(tmp_path, "baseline", False, arguments)
    capsys.readouterr()
    flags = ["--weights", tmp_path / "old", "--base", tmp_path / "base", "--output_dir", tmp_path / "new"]
    monkeypatch.setattr("sys.argv", ["legacy_weights", *map(str, flags)])
    with pytest.raises(SystemExit) as ended:
        run_command(convert, ConvertConfig)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: --base: was assembled with enable_mmca_attention False, and train_args.pt says True; assemble a base "
        "with the flags that the model was trained with\n"
    )
    torch.save(arguments | {"enable_mmca_attention": False}, tmp_path / "old" / "train_args.pt")
    run_command(convert, ConvertConfig)
    assert read_metadata(tmp_path / "new") == {"template": "legacy_llama_2"}
    with pytest.raises(DataError, match="--template llama_9: unknown; expected one of auto, default"):
        convert(ConvertConfig(*map(str, flags[1::2]), template="llama_9"))


def test_a_model_with_qwen_vls_tower_is_refused_in_a_sentence(tmp_path):
    """By the name of its resampler's queries, as the original's `qwen_clip.py` calls them."""
    (tmp_path / "old").mkdir()
    weights = {
        "vis_encoder.attn_pool.query": torch.zeros(256, 8),
        "vis_encoder.ln_pre.weight": torch.zeros(8),
    }
    torch.save(weights, tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(DataError, match="hold Qwen-VL's vision tower .* which is not converted"):
        read_legacy(tmp_path / "old")
    (tmp_path / "qwen-clip").mkdir()
    lm, _ = write_parts(tmp_path)
    with pytest.raises(DataError, match="qwen-clip: holds no config.json; .* the tower of Qwen-VL alone"):
        assemble(AssembleConfig(lm, str(tmp_path / "qwen-clip"), "baseline"), str(tmp_path / "new"), seed=0)


def test_samples_in_a_row_and_branches_do_not_meet():
    """Two samples in one row get what each gets in a row of its own."""
    row = batch_of([trees()])
    inputs = heads(*row.input_ids.shape)
    together = legacy_attention(
        Module(), *inputs, row.attention_mask, SCALING, is_image=row.input_ids == IMAGE
    )[0]
    start = 0
    for tree in trees():
        alone = batch_of([[tree]])
        end = start + alone.input_ids.shape[1]
        parts = [part[:, :, start:end] for part in inputs]
        found = legacy_attention(
            Module(), *parts, alone.attention_mask, SCALING, is_image=alone.input_ids == IMAGE
        )[0]
        torch.testing.assert_close(together[:, start:end], found)
        start = end
