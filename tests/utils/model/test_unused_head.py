"""A value model has no head of words, and is saved with the one that it came with."""

import pytest
import torch

from tests.tiny_families import build_tiny
from training.utils.config.stage_config import RewardConfig
from training.utils.model.build_model import build_value_model, get_family
from training.utils.model.save import save_model


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("trainable", [False, True])
def test_it_takes_no_memory_and_is_saved_as_it_was(tied, trainable, tmp_path):
    folder = build_tiny("llava", tmp_path / "model")
    if tied:
        tie(folder)
    family = get_family("auto", folder)
    config = RewardConfig(
        from_checkpoint=str(folder), data_path="x", output_dir="x", lang_decoder_update=True
    )
    built = build_value_model(config, folder, family, trainable=trainable)
    embedding = built.model.get_input_embeddings().weight
    of_its_size = [name for name, p in built.named_parameters() if p.shape == embedding.shape]
    assert of_its_size == ["model.model.language_model.embed_tokens.weight"]
    assert not any("lm_head" in name for name in built.state_dict())
    if not trainable:
        return
    save_model(family, built.model, tmp_path / "saved", built.model.state_dict())
    assert not any("lm_head" in name for name in built.state_dict())  # nor after it was saved
    before, after = (family.load_model(str(tmp_path / name)).state_dict() for name in ("model", "saved"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def tie(folder):
    family = get_family("auto", folder)
    model = family.load_model(str(folder))
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(folder)
