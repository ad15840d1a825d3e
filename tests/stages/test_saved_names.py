"""A stage saves by the names of the hub, and goes on from what was saved by other names, or in another form."""

import json
import re
import shutil

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.conftest import ROOT, picture, record
from tests.stages.conftest import weights
from tests.stages.test_saving import settings, sft
from tests.tiny_families import build_tiny
from training.reward_model.train_rm import main as train_rm
from training.utils.checkpoint.manifest import write_manifest
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.stage_config import RewardConfig
from training.utils.data.loader import Collator
from training.utils.model.build_model import build_value_model


def rm(model, output, **more) -> None:
    """Two steps, a checkpoint after each."""
    train_rm(RewardConfig(**settings(model, "reward.json", output, **{"max_steps": 2} | more)))


@pytest.fixture(scope="module", params=[sft, rm], ids=["sft", "reward model"])
def done(request, tiny_llava, tmp_path_factory):
    output = tmp_path_factory.mktemp("names") / "out"
    request.param(tiny_llava, output, max_steps=2)
    return request.param, output


def assert_same(output, again):
    expected, found = weights(output), weights(again)
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_models_have_the_names_of_the_hub(done):
    published = json.loads((ROOT / "tests/published/tensors/llava-1.5-7b-hf.json").read_text())["names"]
    names = load_file(done[1] / "epoch-0" / "model.safetensors")
    assert {re.sub(r"\.\d+(?=\.)", ".*", name) for name in names} == set(published)


def test_it_goes_on_from_a_checkpoint_by_the_names_of_the_modules(done, tiny_llava, tmp_path):
    """As they were saved before they had those of the hub."""
    train, output = done
    shutil.copytree(output, tmp_path / "before")
    checkpoint = tmp_path / "before" / "checkpoint-1"
    model = AutoModelForImageTextToText.from_pretrained(checkpoint)
    model.save_pretrained(checkpoint, save_original_format=False)
    assert "model.vision_tower.embeddings.class_embedding" in load_file(checkpoint / "model.safetensors")
    if (head := checkpoint / "value_head.safetensors").is_file():
        save_file({"weight": load_file(head)["v_head.weight"]}, head)
        (checkpoint / "value_head.json").unlink()
    write_manifest(checkpoint)
    train(tiny_llava, tmp_path / "again", max_steps=2, resume=str(checkpoint))
    assert_same(output, tmp_path / "again")


def messages(*turns):
    """Turns of a user, about a picture, and of an assistant."""
    return [
        {"role": role, "content": [{"type": "image"}] * (role == "user") + [{"type": "text", "text": text}]}
        for role, text in zip(
            ("user", "assistant"), turns, strict=False
        )  # the assistant may not have answered
    ]


@torch.no_grad()
def test_another_program_can_score_with_a_reward_model(done, encoder):
    """By the lines of docs/reward_model.md."""
    train, output = done
    if train is not rm:
        return
    folder = output / "epoch-0"
    config = RewardScoreConfig(from_checkpoint=str(folder), data_path="x", output_path="y", precision="fp32")
    batch = Collator(encoder, True)([encoder.encode(record("<image>\nWhat is this?", "A red circle."))])
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/reward_model.md").read_text(), re.DOTALL)
    about = json.loads((folder / "value_head.json").read_text())
    for scale in ({}, {"mean": 0.5, "std": 2.0}):
        (folder / "value_head.json").write_text(json.dumps(about | scale))
        ours = build_value_model(config, folder, encoder.family, trainable=False)
        given = {"messages": messages("What is this?", "A red circle."), "images": [picture()]}
        exec(lines.replace("models/reward_model/epoch-0", str(folder)), given)
        torch.testing.assert_close(given["score"], ours(batch, batch.last_token), atol=1e-5, rtol=0)
        assert (given["score"] - ours(batch, batch.last_token - 1)).abs() > 1e-4


def test_an_adapter_loads_in_peft_on_its_base(tiny_llava, tmp_path):
    torch.manual_seed(0)
    lora = {"lang_lora_dim": 4, "vis_lora_dim": 4, "lora_alpha": 6.0, "only_optimize_lora": True}
    sft(tiny_llava, tmp_path, **lora, lang_decoder_update=False, max_steps=2, learning_rate=0.1)
    folder = tmp_path / "epoch-0"
    processor = AutoProcessor.from_pretrained(folder)
    text = processor.apply_chat_template(
        messages("What is this?"), tokenize=False, add_generation_prompt=True
    )
    seen = processor(text=text, images=[picture()], add_special_tokens=False, return_tensors="pt")
    base = AutoModelForImageTextToText.from_pretrained(tiny_llava)
    with torch.no_grad():
        before = base(**seen).logits
        adapted = PeftModel.from_pretrained(base, folder / "adapter")(**seen).logits
        merged = AutoModelForImageTextToText.from_pretrained(folder)(**seen).logits
    torch.testing.assert_close(adapted, merged, atol=1e-5, rtol=0)
    assert (adapted - before).abs().max() > 1e-2


def test_masters_that_files_hold_in_another_form_are_kept_apart(tmp_path):
    """The published experts of Qwen3-VL are the modules' turned: no elements of theirs lie there in order."""
    folder = build_tiny("qwen3_vl_moe", tmp_path / "model")
    sft(folder, tmp_path / "out", max_steps=2)
    checkpoint = tmp_path / "out" / "checkpoint-1"
    name = "model.language_model.layers.0.mlp.experts.gate_up_proj"
    assert load_file(checkpoint / "model.safetensors")[name].shape == (4, 48, 64)  # experts, in, out
    state = load_file(checkpoint / "state" / "engine-0-00.safetensors")
    assert f"master/model.{name}@0" in state and "master/model.lm_head.weight@0" not in state
    sft(folder, tmp_path / "again", max_steps=2, resume=str(checkpoint))
    assert_same(tmp_path / "out", tmp_path / "again")
