"""LLaVA's processors as some are published: without what they need to count image tokens."""

import json

import pytest

from tests.conftest import RECORDS
from tests.tiny_families import build_tiny
from training.utils.data.encode import Encoder
from training.utils.model.build_model import get_family

UNTOLD = {"patch_size": None, "vision_feature_select_strategy": None, "num_additional_image_tokens": 0}


@pytest.mark.parametrize("change", [UNTOLD, {"patch_size": 4}, {"num_additional_image_tokens": 0}])
@pytest.mark.parametrize("name", ["llava", "llava_next"])
def test_image_tokens_are_counted_by_the_models_own_config(name, change, tmp_path):
    folder = build_tiny(name, tmp_path)
    family = get_family("auto", folder)

    def ids():
        processor = family.load_processor(str(folder))
        return Encoder(processor, family, "auto", max_seq_len=512).encode(RECORDS[0]).prompt_ids

    expected = ids()
    file = folder / "processor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert ids() == expected
