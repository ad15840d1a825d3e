"""A tower learns the names of things in the space of the words, and its LLaVA is one that the stages load."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from demo import tower
from demo.model import TinyConfig, build_tiny_llava
from demo.tower import TowerConfig, shown, table
from tests.conftest import record
from training.utils.data.encode import Encoder
from training.utils.data.json_text import read_json
from training.utils.model.llava import Llava


@pytest.fixture(scope="module")
def seeing(folder, tmp_path_factory) -> Path:
    """A LLaVA whose tower has seen two thousand scenes."""
    models = tmp_path_factory.mktemp("models")
    sizes = dict(picture_px=48, resnet_width=4, hidden_size=48, num_layers=1)
    build_tiny_llava(TinyConfig(output=str(models / "random"), texts=str(folder), **sizes))
    tower.main(TowerConfig(str(models / "random"), str(folder), str(models / "tiny"), num_scenes=1920))
    return models


def test_a_place_shows_what_fills_most_of_it():
    """Four places of 16 x 16: the half thing 2, a tenth thing 1, nothing, both."""
    owner = np.zeros((32, 32), dtype=np.uint8)
    owner[:16, :8] = 2
    owner[:3, 16:24] = 1
    owner[16:, 16:24] = 1
    owner[16:, 24:30] = 2
    assert shown(owner, [7, 9]).tolist() == [9, 0, 0, 7]


def test_precision_and_recall_worked_by_hand():
    """From 0.5 on two names, one of them right, of three that are there; a wrong one in one picture of two."""
    sure = torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.1, 0.1]])
    there = torch.tensor([[True, False, False], [True, True, False]])
    assert table(sure, there).splitlines()[2].split() == ["0.5", "50.0", "33.3", "50.0"]


def test_the_stages_load_what_has_learned_to_see(folder, seeing):
    family = Llava()
    model = family.load_model(str(seeing / "tiny")).eval()
    encoder = Encoder(family.load_processor(str(seeing / "tiny")), family, "auto", max_seq_len=256)
    tree = encoder.encode(record("<image>\nWhat is this?", "a cat."))
    image_id = model.config.image_token_id
    assert sum(token == image_id for token in tree.prompt_ids) == 9  # places of 16 pixels in 48 x 48
    before = family.load_model(str(seeing / "random"))
    moved = [
        not torch.equal(one, other)
        for one, other in zip(
            before.model.vision_tower.parameters(), model.model.vision_tower.parameters(), strict=True
        )
    ]
    assert sum(moved) > 10  # the last stage, which is not read, is as it was
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            before.model.language_model.parameters(), model.model.language_model.parameters(), strict=True
        )
    )


def test_the_same_seed_sees_the_same(folder, seeing):
    torch.manual_seed(7)  # whatever was drawn before
    tower.main(TowerConfig(str(seeing / "random"), str(folder), str(seeing / "again"), num_scenes=1920))
    one, other = (load_file(seeing / name / "model.safetensors") for name in ("tiny", "again"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_what_a_place_looks_like_is_as_long_as_a_word(folder, seeing):
    model = Llava().load_model(str(seeing / "tiny")).eval()
    scenes = read_json(folder / "truth_val.json", "scenes")["scenes"]
    pictures = tower.pixels([Image.open(folder / scene["image"]) for scene in scenes])
    with torch.no_grad():
        seen = torch.stack(list(model.get_image_features(pixel_values=pictures).pooler_output))
    words = model.get_input_embeddings().weight
    assert seen.norm(dim=-1).mean() == pytest.approx(words.norm(dim=-1).mean().item(), rel=0.2)
