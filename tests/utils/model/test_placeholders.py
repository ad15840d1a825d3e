"""Where the features of images go: as transformers finds it, without a look at the device."""

import pytest
import torch

from tests.conftest import RECORDS
from tests.host_reads import on_device, reads
from tests.utils.model.test_families import tiny_of  # noqa: F401
from training.utils.model.placeholders import find_places_on_the_cpu

FAMILIES = ("llava", "llava_next", "llava_onevision", "qwen2_5_vl", "internvl", "smolvlm", "paligemma")


@pytest.mark.parametrize("name", FAMILIES)
def test_places_are_those_that_transformers_finds(name, tiny_of):  # noqa: F811
    tiny = tiny_of(name)
    model, batch = tiny.model, tiny.batch(*[record for record in RECORDS if record.images])
    embeddings = torch.zeros(*batch.input_ids.shape, 48)
    number = int((batch.input_ids == model.config.image_token_id).sum())
    there = on_device(batch).input_ids
    find = model.model.get_placeholder_mask
    expected = find(batch.input_ids, inputs_embeds=embeddings, image_features=torch.zeros(1, number, 48))
    find_places_on_the_cpu(model)
    reads.clear()
    found = model.model.get_placeholder_mask(
        there, inputs_embeds=embeddings, image_features=torch.zeros(1, number, 48)
    )
    assert sum(reads.values()) == 0
    torch.testing.assert_close(found, expected)
    assert int((found[0] if isinstance(found, tuple) else found)[..., 0].sum()) == number > 0
    with pytest.raises(ValueError, match="do not match"):
        model.model.get_placeholder_mask(
            there, inputs_embeds=embeddings, image_features=torch.zeros(1, number - 1, 48)
        )
