"""What can't work is told before a model is loaded, with what was found, what was expected and the cure."""

import json
import shutil

import pytest

from tests.conftest import SAMPLES
from training.utils.config.stage_config import SFTConfig
from training.utils.data.record import DataError
from training.utils.files.model_folder import resolve_checkpoint
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.model.build_model import build_value_model
from training.utils.model.llava import Llava


def config(model, tmp_path, **more):
    settings = {
        "from_checkpoint": str(model),
        "data_path": str(SAMPLES / "sft.json"),
        "output_dir": str(tmp_path / "out"),
        "max_seq_len": 256,
        "data_train_split_ratio": 1.0,
    }
    return SFTConfig(**settings | more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"template": "lava"}, "--template lava: unknown; expected one of auto, default, llama_2, .*llava"),
        (
            {"model_architecture": "lava"},
            "--model_architecture lava: unknown; expected one of auto, llava, llava_next, llava_onevision",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(more, message, tiny_llava, tmp_path):
    with pytest.raises(DataError, match=message):
        build_encoder(config(tiny_llava, tmp_path, **more), tiny_llava)


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(DataError, match="no such folder; expected a model folder or the output folder"):
        resolve_checkpoint(tmp_path / "none")
    with pytest.raises(DataError, match="holds no config.json and no finished epoch"):
        resolve_checkpoint(tmp_path)


def test_an_output_folder_means_its_newest_model(tiny_llava, tmp_path):
    shutil.copytree(tiny_llava, tmp_path / "epoch-1")
    (tmp_path / "latest").write_text("epoch-1\n")
    assert resolve_checkpoint(tmp_path) == tmp_path / "epoch-1"


def test_a_reward_model_without_a_head_is_refused_not_given_a_random_one(tiny_llava, tmp_path):
    with pytest.raises(
        DataError, match="holds no value_head.safetensors; expected a reward model; train one by"
    ):
        build_value_model(config(tiny_llava, tmp_path), tiny_llava, Llava(), trainable=False, needs_head=True)


def test_a_prompt_that_is_too_long_is_found_before_training(tiny_llava, tmp_path):
    records = json.loads((SAMPLES / "sft.json").read_text())[:3]
    records[2]["conversations"][0]["value"] = "<image>\n" + "word " * 400
    data = tmp_path / "long.json"
    data.write_text(json.dumps(records))
    wrong = config(tiny_llava, tmp_path, data_path=str(data), image_folder=str(SAMPLES))
    encoder = build_encoder(wrong, tiny_llava)
    with pytest.raises(
        DataError, match=r"long.json\[2\] id=shape-02: the prompt takes \d+ tokens, 16 of them"
    ):
        load_data(wrong, encoder, min_responses=1)


def test_samples_can_be_looked_at_as_the_model_sees_them(tiny_llava, tmp_path):
    looked = config(tiny_llava, tmp_path, data_debug_path=str(tmp_path / "debug"))
    load_data(looked, build_encoder(looked, tiny_llava), min_responses=1)
    assert len(list((tmp_path / "debug").glob("*_text.txt"))) == 10
    text = (tmp_path / "debug" / "gpu_rank0_debug0_text.txt").read_text()
    assert text.startswith("<s>USER: <image><image>") and "ASSISTANT:" in text and "</s>" in text
    assert (tmp_path / "debug" / "gpu_rank0_debug0_image0.jpg").is_file()
