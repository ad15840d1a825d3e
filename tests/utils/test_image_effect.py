"""A model that does not look at its pictures is told so, whatever its loss."""

import json
import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import SAMPLES
from training.dpo import train_dpo, train_online
from training.ppo import train_ppo
from training.reward_model import train_rm
from training.sft import train_sft
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig

SAMPLED = {
    "reward_functions": ["length"],
    "num_generations": 2,
    "max_generation_length_of_sampling": 6,
}
STAGES = {
    "sft": (train_sft, SFTConfig, "sft.json", {}),
    "rm": (train_rm, RewardConfig, "reward.json", {}),
    "dpo": (train_dpo, DPOConfig, "reward.json", {}),
    "online dpo": (train_online, OnlineDPOConfig, "ppo.json", SAMPLED | {"online": True}),
    "ppo": (
        train_ppo,
        PPOConfig,
        "ppo.json",
        SAMPLED | {"critic_init": "policy", "actor_learning_rate": 1e-12},
    ),
}


@pytest.fixture(scope="module")
def blind_llava(tiny_llava, tmp_path_factory):
    """The same model, with a projector that gives the same for every picture."""
    folder = tmp_path_factory.mktemp("blind") / "llava"
    shutil.copytree(tiny_llava, folder)
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if "multi_modal_projector.linear_2" in name]:
        weights[name] = weights[name] * 0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def effect(stage, model, output, max_steps=1, learning_rate=1e-12, **more):
    main, config_class, data, own = STAGES[stage]
    config = config_class(
        from_checkpoint=str(model),
        data_path=str(SAMPLES / data),
        output_dir=str(output),
        learning_rate=learning_rate,
        max_steps=max_steps,
        max_seq_len=512,
        **own | more,
    )
    main.main(config)
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    (found,) = [line["image_effect"] for line in lines if "image_effect" in line]
    return found


def test_a_run_that_goes_on_does_not_measure_it_again(tiny_llava, tmp_path):
    more = {"resume": "auto", "lr_scheduler_type": "constant", "save_step": 1}
    first = effect("sft", tiny_llava, tmp_path, **more, max_steps=2, eval_step=1)
    again = effect("sft", tiny_llava, tmp_path, **more, max_steps=3, eval_step=1)
    assert again == first  # one line of the log holds it


@pytest.mark.parametrize("stage", STAGES)
def test_exchanged_pictures_move_what_is_said_and_a_blind_model_is_named(
    stage, tiny_llava, blind_llava, tmp_path, caplog
):
    with caplog.at_level(logging.WARNING):
        assert effect(stage, tiny_llava, tmp_path / "sees") > 1e-3
        assert "image_effect" not in caplog.text
        assert effect(stage, blind_llava, tmp_path / "blind", data_train_split_ratio=1.0) < 1e-6
        assert "it does not look at them" in caplog.text


def test_it_is_measured_on_training_records_where_a_single_one_is_held_out(tiny_llava, tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(json.loads((SAMPLES / "sft.json").read_text())[:1]))
    held_out = {"eval_data_path": str(tmp_path / "one.json"), "image_folder": str(SAMPLES)}
    assert effect("sft", tiny_llava, tmp_path / "out", **held_out) > 1e-3


def test_adapters_whose_model_is_their_reference_are_heard_alone(tiny_llava, tmp_path):
    """As where the reference's words come from a cache, and nobody but the policy speaks."""
    more = {"lang_lora_dim": 4, "only_optimize_lora": True, "learning_rate": 0.3, "max_steps": 4}
    more |= {"dataset_samples": "8", "data_train_split_ratio": 1.0}
    found = []
    for name, cache in (("beside", ""), ("cached", str(tmp_path / "cache"))):
        torch.manual_seed(0)
        found.append(effect("dpo", tiny_llava, tmp_path / name, reference_cache=cache, **more))
    assert found[0] == pytest.approx(found[1], rel=1e-3)
