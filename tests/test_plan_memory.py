"""Memory plans: parameter counts of the published models, and what a stage really trains."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from scripts.plan_memory import PlanConfig, build_on_meta, count, plan
from tests.conftest import ROOT
from tests.tiny_families import BUILDERS, build_tiny
from training.utils.model.build_model import build_policy, build_value_model, get_family
from training.utils.stage_config import SFTConfig

PUBLISHED = sorted((ROOT / "tests" / "published").glob("*.json"))
PARTS = {"llama": AutoModelForCausalLM, "clip_vision_model": AutoModel}  # of models from scratch


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_a_published_config_gives_the_published_number_of_parameters(file, tmp_path):
    fact = json.loads(file.read_text())
    (tmp_path / "config.json").write_text(json.dumps(fact["config"]))
    model_type = fact["config"]["model_type"]
    if model_type in PARTS:
        with torch.device("meta"):
            model = PARTS[model_type].from_config(AutoConfig.from_pretrained(tmp_path))
        assert model.num_parameters() == fact["parameters"]
        return
    parameters = count(
        build_on_meta(tmp_path), get_family("auto", tmp_path), PlanConfig(from_checkpoint=""), True
    )
    assert parameters.total == fact["parameters"]


@pytest.mark.parametrize("settings", [{}, {"vis_encoder_update": True}, {"lang_lora_dim": 2}], ids=str)
@pytest.mark.parametrize("name", [name for name in BUILDERS if ":" not in name])
def test_what_is_planned_to_be_trained_is_what_a_stage_trains(name, settings, tmp_path):
    folder = build_tiny(name, tmp_path / "model")
    family = get_family("auto", folder)
    config = SFTConfig(
        from_checkpoint=str(folder), data_path="x", output_dir="x", lang_decoder_update=True, **settings
    )
    for build, has_lm_head in ((build_policy, True), (build_value_model, False)):
        planned = count(
            build_on_meta(folder), family, PlanConfig(from_checkpoint="", **settings), has_lm_head
        )
        built = build(config, folder, family)
        head = sum(p.numel() for p in built.v_head.parameters()) if hasattr(built, "v_head") else 0
        assert planned.trained == sum(p.numel() for p in built.parameters() if p.requires_grad) - head


def test_zero_stages_share_out_what_they_should(tmp_path):
    file = next(file for file in PUBLISHED if file.stem == "llava-1.5-7b-hf")
    (tmp_path / "config.json").write_text(json.dumps(json.loads(file.read_text())["config"]))

    def policy(zero_stage, **more):
        config = PlanConfig(from_checkpoint=str(tmp_path), zero_stage=zero_stage, num_gpus=4, **more)
        _, parameters, memory = plan(config)[0]
        trained = parameters.trained / 2**30
        return [memory[purpose] / trained for purpose in ("weights", "gradients", "optimizer")]

    tower = 2 * 303_507_456 / 6_759_919_616  # bf16, whole on each GPU
    for zero_stage, expected in enumerate(([2, 2, 12], [2, 4, 3], [2, 1, 3], [0.5, 1, 3])):
        assert policy(zero_stage) == pytest.approx([expected[0] + tower, *expected[1:]])
    for zero_stage, gradients in enumerate((2, 2, 0.5, 0.5)):
        assert policy(zero_stage, grad_accum_dtype="bf16")[1] == pytest.approx(gradients)
    assert policy(3, offload=True, offload_params=True) == pytest.approx([tower, 1, 0])


def test_an_output_folder_is_planned_as_its_newest_model(tiny_llava, tmp_path):
    (tmp_path / "epoch-1").symlink_to(tiny_llava)
    (tmp_path / "latest").write_text("epoch-1")
    assert plan(PlanConfig(from_checkpoint=str(tmp_path))) == plan(
        PlanConfig(from_checkpoint=str(tiny_llava))
    )
