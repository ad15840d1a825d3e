"""The reference from a cache, or from the policy without its adapters, is the reference."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

from tests.stages.conftest import log, weights
from tests.stages.test_variants import settings
from training.dpo.train_dpo import main as train_dpo
from training.utils.config.stage_config import DPOConfig
from training.utils.data.record import DataError
from training.utils.files.model_folder import weights_digest
from training.utils.model import build_model
from training.utils.model.llava import Llava
from training.utils.model.lora import without_adapters


def run(model, output, **more):
    defaults = {"max_steps": 3, "learning_rate": 1e-3, "loss_type": ["sigmoid", "image_conditional"]}
    config = settings(model, "reward.json", output, **(defaults | more))
    torch.manual_seed(0)  # adapters start from random numbers
    train_dpo(DPOConfig(**config))
    return log(output)


def test_a_cached_reference_trains_the_same_model_and_is_computed_once(tiny_llava, tmp_path, capsys):
    cache = str(tmp_path / "cache")
    without = run(tiny_llava, tmp_path / "without")
    first = run(tiny_llava, tmp_path / "first", reference_cache=cache)
    assert "16 computed" in capsys.readouterr().out  # eight records, each below two images
    again = run(tiny_llava, tmp_path / "again", reference_cache=cache)
    assert "16 trees from" in (out := capsys.readouterr().out) and "0 computed" in out
    for one, two, three in zip(without, first, again, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)
        assert two["loss"] == three["loss"]
    for name, tensor in weights(tmp_path / "without").items():
        torch.testing.assert_close(weights(tmp_path / "again")[name], tensor, atol=1e-5, rtol=0)


def test_a_wrong_value_in_the_cache_is_found_and_other_weights_do_not_read_it(tiny_llava, tmp_path):
    cache = tmp_path / "cache"
    run(tiny_llava, tmp_path / "first", reference_cache=str(cache))
    (file,) = cache.iterdir()
    assert weights_digest(tiny_llava)[:16] in file.name and "float32" in file.name
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines = [line | {"logps": [logp + 0.5 for logp in line["logps"]]} for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match="of which the reference now says .* remove the file"):
        run(tiny_llava, tmp_path / "second", reference_cache=str(cache))


def test_a_changed_weight_changes_the_digest(tmp_path):
    for value in (0.0, 1.0):
        (tmp_path / str(value)).mkdir()
        save_file({"w": torch.full((2,), value)}, tmp_path / str(value) / "model.safetensors")
    assert weights_digest(tmp_path / "0.0") != weights_digest(tmp_path / "1.0")


def test_with_adapters_alone_no_second_model_is_loaded_and_the_losses_are_the_same(
    tiny_llava, tmp_path, monkeypatch
):
    lora = {"lang_lora_dim": 4, "only_optimize_lora": True, "learning_rate": 1e-2}
    cached = run(tiny_llava, tmp_path / "cached", reference_cache=str(tmp_path / "cache"), **lora)
    loaded = []
    load = build_model._load
    monkeypatch.setattr(build_model, "_load", lambda *args: loaded.append(args) or load(*args))
    shared = run(tiny_llava, tmp_path / "shared", **lora)
    assert len(loaded) == 1
    assert shared[-1]["loss"] != shared[0]["loss"]
    for one, two in zip(cached, shared, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)


def test_a_model_without_its_adapters_is_what_it_was_and_gets_them_back(tiny_llava, encoder):
    from tests.dpo.test_contrasts import batch_of

    config = DPOConfig(
        from_checkpoint="x", data_path="x", output_dir="x", lang_lora_dim=4, only_optimize_lora=True
    )
    plain = build_model.build_policy(config, tiny_llava, encoder.family, trainable=False)
    policy = build_model.build_policy(config, tiny_llava, encoder.family)
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    batch = batch_of(encoder)
    with torch.no_grad():
        adapted = policy(batch)
        with without_adapters(policy):
            torch.testing.assert_close(policy(batch), plain(batch))
        assert torch.equal(policy(batch), adapted) and not torch.allclose(adapted, plain(batch))
    assert all(p.requires_grad for name, p in policy.named_parameters() if "lora_" in name)


def test_another_model_may_be_the_reference(tiny_llava, tmp_path):
    """Implicit rewards at the first step are beta times the difference of the two models' own log-probabilities."""
    other = tmp_path / "other"
    shutil.copytree(tiny_llava, other)
    tensors = load_file(other / "model.safetensors")
    tensors["language_model.lm_head.weight"] *= 6
    save_file(tensors, other / "model.safetensors", {"format": "pt"})

    def first(name, model=tiny_llava, **more):
        return run(model, tmp_path / name, max_steps=1, loss_type=["sigmoid"], **more)[0]

    theirs = first("theirs", model=other)
    ours = first("ours", reference=str(other))
    for answer in ("chosen", "rejected"):
        expected = 0.1 * (ours[f"{answer}_logps"] - theirs[f"{answer}_logps"])
        assert abs(expected) > 0.1 and ours[f"{answer}_reward"] == pytest.approx(expected, rel=1e-3)
    assert theirs["chosen_reward"] == pytest.approx(0, abs=1e-4)
    adapted = {"lang_lora_dim": 4, "only_optimize_lora": True}
    for name, more in (("cached", {"reference_cache": str(tmp_path / "cache")}), ("adapted", adapted)):
        again = first(name, reference=str(other), **more)
        assert again["loss"] == pytest.approx(ours["loss"], rel=1e-4)


def test_a_reference_that_reads_other_tokens_is_refused(tiny_llava, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_llava, other)
    processor = Llava().load_processor(str(other))
    processor.tokenizer.add_tokens(["<new>"])
    processor.save_pretrained(str(other))
    resize = LlavaForConditionalGeneration.from_pretrained(other)
    resize.resize_token_embeddings(len(processor.tokenizer))
    resize.save_pretrained(other)
    with pytest.raises(DataError, match="--reference .*other: reads other tokens"):
        run(tiny_llava, tmp_path / "out", reference=str(other))
