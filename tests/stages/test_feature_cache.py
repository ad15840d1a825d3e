"""With --cache_image_features a frozen tower sees each picture once, whatever epochs, runs and processes."""

import logging
import shutil
from dataclasses import replace

import pytest
import torch

from tests.conftest import picture, record
from tests.stages.conftest import command, log, run, weights
from tests.stages.test_variants import settings
from training.dpo.train_dpo import main as train_dpo
from training.reward_model.train_rm import main as train_rm
from training.sft.train_sft import main as train_sft
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig
from training.utils.data.encode import Encoder
from training.utils.data.features import Features
from training.utils.data.record import DataError
from training.utils.files.tensor_store import TensorStore

from transformers.models.clip.modeling_clip import CLIPVisionModel  # isort: skip

NUM_RECORDS, NUM_PICTURES = 8, 6  # two pictures belong to two records each
BLANK = 1  # that stands in a batch without pictures


@pytest.fixture
def seen(monkeypatch) -> list[int]:
    """How many pictures each call of a tower gets."""
    calls: list[int] = []
    forward = CLIPVisionModel.forward
    monkeypatch.setattr(
        CLIPVisionModel,
        "forward",
        lambda self, pixels, **more: calls.append(len(pixels)) or forward(self, pixels, **more),
    )
    return calls


def sft(model, output, **more):
    config = settings(model, "sft.json", output, per_device_train_batch_size=4, learning_rate=1e-3)
    train_sft(SFTConfig(**config | {"num_train_epochs": 2} | more))
    return log(output)


def test_two_epochs_and_a_second_run_ask_the_tower_once_about_each_picture(
    tiny_llava, tmp_path, seen, monkeypatch
):
    without = sft(tiny_llava, tmp_path / "without")
    of_training = sum(seen)
    assert of_training >= 2 * NUM_RECORDS
    seen.clear()
    cache = str(tmp_path / "cache")
    read: list[str] = []
    whole = TensorStore.get
    monkeypatch.setattr(TensorStore, "get", lambda store, key: read.append(key) or whole(store, key))
    first = sft(tiny_llava, tmp_path / "first", cache_image_features=cache)
    assert sum(seen) == NUM_PICTURES + BLANK
    seen.clear()
    of_first = len(read)
    read.clear()
    again = sft(tiny_llava, tmp_path / "again", cache_image_features=cache)
    assert not seen
    assert len(read) == of_first > 0  # the start, which looks at all of them, reads no features
    for plain, one, two in zip(without, first, again, strict=True):
        assert one["loss"] == pytest.approx(plain["loss"], abs=1e-6) and one["loss"] == two["loss"]
    for name, tensor in weights(tmp_path / "without").items():
        torch.testing.assert_close(weights(tmp_path / "again")[name], tensor, atol=1e-6, rtol=0)


def test_a_resumed_run_asks_nothing_and_goes_on_as_the_whole_one(tiny_llava, tmp_path, seen):
    more = {"cache_image_features": str(tmp_path / "cache"), "save_step": 2, "save_total_limit": 0}
    whole = sft(tiny_llava, tmp_path / "whole", **more)
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    (tmp_path / "stopped" / "finished").unlink()
    for folder in ("epoch-1", "checkpoint-4"):
        shutil.rmtree(tmp_path / "stopped" / folder, ignore_errors=True)
    seen.clear()
    resumed = sft(tiny_llava, tmp_path / "stopped", resume=str(tmp_path / "stopped" / "checkpoint-2"), **more)
    assert not seen
    assert [line["loss"] for line in resumed] == [line["loss"] for line in whole]


def test_two_processes_share_the_pictures_and_one_goes_on_with_what_they_wrote(tiny_llava, tmp_path, seen):
    more = ("--cache_image_features", tmp_path / "cache", "--dataset_samples", NUM_RECORDS)
    more += ("--data_train_split_ratio", 1, "--per_device_train_batch_size", 2)
    flags = command("sft", tiny_llava, tmp_path / "two", *more)[2:]
    two = run(["-m", "tests.stages.tower_calls", *flags], processes=2)
    assert f"pictures seen by each tower: [{NUM_RECORDS // 2 + BLANK}, {NUM_RECORDS // 2}]" in two.stdout
    one = sft(tiny_llava, tmp_path / "one", cache_image_features=str(tmp_path / "cache"), max_steps=4)
    assert not seen
    assert [line["loss"] for line in one] == pytest.approx(
        [line["loss"] for line in log(tmp_path / "two")], abs=1e-5
    )


@pytest.mark.parametrize("stage", ["dpo", "reward_model"])
def test_other_stages_read_the_same_features_with_the_losses_of_pixels(stage, tiny_llava, tmp_path, seen):
    """mDPO compares with a crop, whose features are kept too; the reference's tower is the policy's."""
    train, config_class, more = {
        "dpo": (train_dpo, DPOConfig, {"loss_type": ["mdpo"]}),
        "reward_model": (train_rm, RewardConfig, {}),
    }[stage]
    more |= {"max_steps": 3, "per_device_train_batch_size": 4, "learning_rate": 1e-3}

    def losses(output, **more_still):
        train(config_class(**settings(tiny_llava, "reward.json", tmp_path / output, **more, **more_still)))
        return [line["loss"] for line in log(tmp_path / output)]

    plain = losses("plain")
    seen.clear()
    kept = losses("kept", cache_image_features=str(tmp_path / "cache"))
    assert sum(seen) == NUM_PICTURES + (NUM_RECORDS if stage == "dpo" else 0) + BLANK
    assert kept == pytest.approx(plain, abs=1e-5)


def test_a_damaged_file_is_named_and_made_anew_and_other_weights_read_nothing_of_it(
    tiny_llava, tmp_path, seen, caplog
):
    more = {"cache_image_features": str(tmp_path / "cache"), "max_steps": 1}
    sft(tiny_llava, tmp_path / "first", **more)
    (file,) = (tmp_path / "cache").rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    seen.clear()
    with caplog.at_level(logging.WARNING):
        sft(tiny_llava, tmp_path / "second", **more)
    assert f"{file} is damaged" in caplog.text and sum(seen) == NUM_PICTURES + BLANK
    seen.clear()
    sft(tiny_llava, tmp_path / "other", **more, precision="bf16")
    assert sum(seen) == NUM_PICTURES + BLANK
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_picture_that_changes_during_a_run_is_refused(tiny_llava, tmp_path, encoder):
    reading = Encoder(encoder.processor, encoder.family, "auto", max_seq_len=512)
    reading.features = Features(TensorStore(tmp_path), encoder.family)
    reading.features.missing = None
    changed = tmp_path / "a.png"
    picture(1).save(changed)
    with pytest.raises(DataError, match="a.png'?: has changed since the run started"):
        reading.encode(replace(record(), images=(changed,)))


@pytest.mark.parametrize("more", [{"vis_encoder_update": True}, {"vis_lora_dim": 4}])
def test_a_tower_that_trains_is_refused(more):
    with pytest.raises(ConfigError, match="--cache_image_features: not with --vis_encoder_update or"):
        SFTConfig(**settings("x", "sft.json", "x", cache_image_features="cache", **more))


def test_policy_optimisation_is_refused():
    with pytest.raises(ConfigError, match="--cache_image_features: not where responses are sampled"):
        PPOConfig(
            **settings("x", "ppo.json", "x", cache_image_features="cache", reward_model_ckpt_path=["x"])
        )
