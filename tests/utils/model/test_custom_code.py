"""Checkpoints that come with Python code of their own: refused without a question, or run where they are trusted."""

import json

import pytest
from transformers import dynamic_module_utils

from tests.conftest import SAMPLES
from tests.tiny_families import build_tiny
from training.sft.train_sft import main as train_sft
from training.utils.config.stage_config import SFTConfig
from training.utils.data.record import DataError
from training.utils.loop.prepare import build_encoder
from training.utils.model.assemble import AssembleConfig, assemble
from training.utils.model.build_model import build_policy
from training.utils.model.legacy_weights import ConvertConfig, convert
from training.utils.model.other import OtherFamily

CODE = {
    "configuration_own.py": """
from transformers import LlavaConfig


class OwnConfig(LlavaConfig):
    model_type = "own_llava"
""",
    "modeling_own.py": """
from transformers import LlavaForConditionalGeneration

from .configuration_own import OwnConfig


class OwnLlava(LlavaForConditionalGeneration):
    config_class = OwnConfig
""",
}


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    """A LLaVA under a name of its own, whose classes lie beside its weights."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = build_tiny("llava", tmp_path / "own")
    config = json.loads((folder / "config.json").read_text())
    names = {
        "AutoConfig": "configuration_own.OwnConfig",
        "AutoModelForImageTextToText": "modeling_own.OwnLlava",
    }
    config |= {"model_type": "own_llava", "architectures": ["OwnLlava"], "auto_map": names}
    (folder / "config.json").write_text(json.dumps(config))
    for name, code in CODE.items():
        (folder / name).write_text(code)
    return folder


def settings(folder, output="x", **more):
    return SFTConfig(
        from_checkpoint=str(folder), data_path=str(SAMPLES / "sft.json"), output_dir=str(output), **more
    )


def test_code_that_is_not_trusted_is_refused_and_nobody_is_asked(own_code, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked at the terminal"))
    with pytest.raises(DataError, match="--trust_remote_code"):
        build_encoder(settings(own_code), own_code)
    with pytest.raises(DataError, match="--trust_remote_code"):
        convert(ConvertConfig(str(own_code), str(own_code), str(tmp_path / "new")))
    with pytest.raises(DataError, match="--trust_remote_code"):
        assemble(AssembleConfig(str(own_code), str(own_code)), str(tmp_path / "new"), seed=0)
    assert not (tmp_path / "modules").exists()


def test_trusted_code_is_trained_and_its_output_opened_again(own_code, tmp_path):
    output = tmp_path / "out"
    trusted = {"trust_remote_code": True, "max_seq_len": 256, "lang_decoder_update": True}
    train_sft(settings(own_code, output, max_steps=1, data_train_split_ratio=1.0, **trusted))
    newest = output / (output / "latest").read_text().strip()
    again = settings(newest, **trusted)
    encoder = build_encoder(again, newest)
    policy = build_policy(again, newest, encoder.family)
    assert isinstance(encoder.family, OtherFamily) and encoder.family.is_proven
    assert type(policy.model).__name__ == "OwnLlava"
