"""Towers of open_clip of every kind: their features, and models that are built on them."""

import open_clip
import pytest
import torch
from transformers import AutoModelForImageTextToText, LlavaProcessor

from tests.conftest import picture
from tests.tiny_families import OPEN_CLIP, open_clip_name, write_parts
from training.utils.data.record import DataError
from training.utils.model.assemble import AssembleConfig, assemble
from training.utils.model.open_clip_tower import OpenClipConfig, OpenClipVision

# Tokens of an image, by hand: the class token, and the side of the grid of patches.
TOKENS = {"vit": (1, 32 // 8), "resnet": (0, 64 // 32), "siglip": (0, 160 // 16), "convnext": (0, 64 // 32)}


@pytest.mark.parametrize("kind", OPEN_CLIP)
def test_the_features_are_those_of_open_clip(kind):
    torch.manual_seed(0)
    tower = OpenClipVision.of(open_clip_name(kind).removeprefix("open_clip:"), "").eval()
    torch.manual_seed(0)
    theirs = open_clip.create_model(f"tiny-{kind}").visual.eval()
    size = OPEN_CLIP[kind]["image_size"]
    pixels = torch.randn(2, 3, size, size)
    features = tower(pixels).last_hidden_state
    class_token, side = TOKENS[kind]
    assert features.shape == (2, class_token + side**2, tower.config.hidden_size)
    expected = theirs.forward_intermediates(pixels, intermediates_only=True, output_fmt="NCHW")
    patches = features[:, class_token:].transpose(1, 2).reshape(2, -1, side, side)
    torch.testing.assert_close(patches, expected["image_intermediates"][-1])


@pytest.mark.parametrize("projector", ["baseline", "vit", "perceiver", "mlp2x_gelu"])
@pytest.mark.parametrize("kind", ["resnet", "siglip", "convnext"])
def test_a_model_on_it_is_saved_and_loaded_and_reads_pictures(kind, projector, tmp_path):
    lm, _ = write_parts(tmp_path)
    parts = AssembleConfig(lm, open_clip_name(kind), projector, num_queries=4)
    if projector == "mlp2x_gelu" and kind != "siglip":  # a convolutional tower: its layers differ in size
        with pytest.raises(
            DataError, match="layer -2 of the tower has .* choose a projector that reads the last"
        ):
            assemble(parts, str(tmp_path / "whole"), seed=0)
        return
    assemble(parts, str(tmp_path / "whole"), seed=0)
    processor = LlavaProcessor.from_pretrained(tmp_path / "whole")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "whole").eval()
    logits = []
    for number in (0, 1):
        inputs = processor(text="<image> What?", images=[picture(number)], return_tensors="pt")
        class_token, side = TOKENS[kind]
        expected = {"perceiver": 4, "mlp2x_gelu": side**2}.get(projector, class_token + side**2)
        assert (inputs["input_ids"] == model.config.image_token_id).sum() == expected
        with torch.no_grad():
            logits.append(model(**inputs).logits[0, -1])
    assert (logits[0] - logits[1]).abs().max() > 1e-5


def test_the_layer_that_the_vit_projector_adds_is_as_wide_as_the_tower_s_own():
    """ViT-bigG-14: width 1664, heads of 104, and 8192 in between, which is not four times the width."""
    bigg = open_clip.get_model_config("ViT-bigG-14")["vision_cfg"]
    config = OpenClipConfig(bigg, hidden_size=1664)
    assert (config.num_attention_heads, config.intermediate_size) == (16, 8192)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match="open_clip:ViT-L-15: unknown; expected one of .*ViT-L-14"):
        OpenClipVision.of("ViT-L-15", "")
