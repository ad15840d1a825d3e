"""Checkpoints of the original system: their names, their files, and what must not be loaded."""

import copy
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import RECORDS
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.data.loader import Collator
from training.utils.data.record import DataError
from training.utils.files.model_folder import read_metadata, resolve_checkpoint
from training.utils.model.build_model import build_value_model
from training.utils.model.legacy_weights import ConvertConfig, convert, load_strictly, read_legacy
from training.utils.model.llava import Llava

LLAVA = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.multi_modal_projector.": "multi_modal_projector.",
}
FROM_SCRATCH = {
    "model.language_model.": "lang_decoder.model.",
    "lm_head.": "lang_decoder.lm_head.",
    "model.vision_tower.": "vis_encoder.vision_model.",
    "model.multi_modal_projector.": "projection.",
}


def renamed(model, names):
    """The weights of a model by older names."""

    def old(key):
        new = next(prefix for prefix in names if key.startswith(prefix))
        return names[new] + key.removeprefix(new)

    return {old(key): tensor.clone() for key, tensor in model.state_dict().items()}


def written(folder, weights):
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


def blank(model):
    """The same model with other weights."""
    torch.manual_seed(1)  # the fixture's are of seed 0
    return type(model)(model.config).eval()


@torch.no_grad()
def logits(model, encoder):
    batch = Collator(encoder, True)([encoder.encode(record) for record in RECORDS])
    return model(**Llava().inputs(model, batch)).logits


def assert_same_model(ours, expected, encoder):
    assert torch.equal(logits(ours, encoder), logits(expected, encoder))


@pytest.mark.parametrize("names", [LLAVA, FROM_SCRATCH, {"": ""}], ids=["llava", "from scratch", "today's"])
@pytest.mark.parametrize("wrap", ["", "rwtranrsformer."])
def test_weights_by_older_names_make_the_same_model(model, encoder, tmp_path, names, wrap):
    weights = {wrap + key: tensor for key, tensor in renamed(model, names).items()}
    weights[f"{wrap}{names.get('model.language_model.', 'model.')}layers.0.self_attn.rotary_emb.inv_freq"] = (
        torch.ones(24)  # older transformers wrote this constant
    )
    backbone, head = read_legacy(written(tmp_path, weights))
    ours = blank(model)
    assert not torch.allclose(logits(ours, encoder), logits(model, encoder))
    load_strictly(ours, backbone)
    assert_same_model(ours, model, encoder)
    assert head == {}


def test_the_head_of_a_reward_model_is_split_off(model, encoder, tmp_path):
    weights = {f"rwtranrsformer.{key}": tensor for key, tensor in renamed(model, LLAVA).items()}
    backbone, head = read_legacy(written(tmp_path, weights | {"v_head.weight": torch.arange(48.0)[None]}))
    assert list(head) == ["weight"] and torch.equal(head["weight"], torch.arange(48.0)[None])
    ours = blank(model)
    load_strictly(ours, backbone)
    assert_same_model(ours, model, encoder)


def test_the_trained_embedding_wins_over_the_decoders(model, encoder, tmp_path, caplog):
    weights = renamed(model, FROM_SCRATCH)
    stale = weights["lang_decoder.model.embed_tokens.weight"]
    weights["lang_embed.weight"] = stale.clone()
    stale.zero_()
    for order in (weights, dict(reversed(weights.items()))):
        caplog.clear()
        with caplog.at_level("INFO"):
            backbone, _ = read_legacy(written(tmp_path, order))
        assert sum("lang_embed" in line for line in caplog.messages) == 1
        ours = blank(model)
        load_strictly(ours, backbone)
        assert_same_model(ours, model, encoder)


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_weights_in_several_files(model, encoder, tmp_path, ending):
    weights = list(renamed(model, LLAVA).items())
    files = {f"pytorch_model-0000{k + 1}-of-00003.{ending}": dict(weights[k::3]) for k in range(3)}
    for name, part in files.items():
        torch.save(part, tmp_path / name) if ending == "bin" else save_file(part, tmp_path / name)
    if ending == "bin":
        torch.save({"stale": torch.ones(1)}, tmp_path / "pytorch_model-00004-of-00004.bin")
        index = {"weight_map": {key: name for name, part in files.items() for key in part}}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    ours = blank(model)
    load_strictly(ours, read_legacy(tmp_path)[0])
    assert_same_model(ours, model, encoder)


def test_the_model_keeps_its_dtype_and_is_independent_of_the_file(model, tmp_path):
    written(tmp_path, renamed(model, LLAVA))
    ours = blank(model).to(torch.bfloat16).requires_grad_(False)
    load_strictly(ours, read_legacy(tmp_path)[0])
    with torch.no_grad():
        ours.lm_head.weight.zero_()
    for key, tensor in ours.state_dict().items():
        assert tensor.dtype == torch.bfloat16
        expected = torch.zeros_like(tensor) if key == "lm_head.weight" else model.state_dict()[key].bfloat16()
        assert torch.equal(tensor, expected)
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    assert read_legacy(tmp_path)[0]["language_model.lm_head.weight"].abs().max() > 0


def test_all_that_does_not_fit_is_listed_and_nothing_is_loaded(model, encoder):
    weights = renamed(model, LLAVA)
    weights["multi_modal_projektor.linear_1.bias"] = weights.pop("multi_modal_projector.linear_1.bias")
    weights["language_model.model.norm.weight"] = torch.ones(7)
    ours = blank(model)
    before = logits(ours, encoder)
    with pytest.raises(DataError) as error:
        load_strictly(ours, weights)
    message = str(error.value)
    assert message.startswith("3 weights do not fit LlavaForConditionalGeneration")
    assert "model.multi_modal_projector.linear_1.bias: missing" in message
    assert "multi_modal_projektor.linear_1.bias: not a weight of the model" in message
    assert "model.language_model.norm.weight: shape [7], expected [48]" in message
    assert torch.equal(logits(ours, encoder), before)


def test_tied_weights_stay_tied_and_must_be_equal(model):
    config = copy.deepcopy(model.config)
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
    tied = type(model)(config)
    weights = renamed(model, LLAVA)
    with pytest.raises(
        DataError, match="lm_head.weight: differs from model.language_model.embed_tokens.weight"
    ):
        load_strictly(tied, weights)
    del weights["language_model.lm_head.weight"]
    load_strictly(tied, weights)
    assert tied.lm_head.weight is tied.model.language_model.embed_tokens.weight
    assert torch.equal(tied.lm_head.weight, model.model.language_model.embed_tokens.weight)


def test_a_long_list_ends_after_twenty(model):
    weights = renamed(model, LLAVA) | {f"other.{k}": torch.ones(1) for k in range(33)}
    with pytest.raises(DataError, match="^33 weights do not fit") as error:
        load_strictly(model, weights)
    assert len(re.findall(r"other\.\d+", str(error.value))) == 20
    assert str(error.value).endswith("and 13 more")


class Malicious:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.write_text, (self.file, "run")


def test_code_in_a_pickle_is_not_run(tmp_path):
    proof = tmp_path / "proof"
    written(tmp_path, {"weight": torch.ones(1), "other": Malicious(proof)})
    with pytest.raises(DataError, match="pytorch_model.bin.*not unpickled"):
        read_legacy(tmp_path)
    assert not proof.exists()
    # The proof that this test can fail: torch's unsafe reading runs the code, which only writes a file in tmp_path.
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    assert proof.exists()


def test_what_is_not_a_state_dict_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no weights"):
        read_legacy(tmp_path)
    for content in ([torch.ones(1)], {"weight": torch.ones(1), "step": 3}):
        with pytest.raises(DataError, match="expected a state dict"):
            read_legacy(written(tmp_path, content))
    whole = (tmp_path / "pytorch_model.bin").read_bytes()
    for damaged in (b"", b"no pickle", whole[: len(whole) // 2]):
        (tmp_path / "pytorch_model.bin").write_bytes(damaged)
        with pytest.raises(DataError, match="pytorch_model.bin: "):
            read_legacy(tmp_path)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="model.safetensors: damaged"):
        read_legacy(tmp_path)
    (tmp_path / "pytorch_model.bin.index.json").write_text('{"weight_map": {"weight": "gone.bin"}}')
    with pytest.raises(DataError, match="gone.bin: not there"):
        read_legacy(tmp_path)


def test_a_reward_model_becomes_a_checkpoint_of_this_project(model, tiny_llava, tmp_path):
    weights = {f"rwtranrsformer.{key}": tensor for key, tensor in renamed(model, LLAVA).items()}
    weights.pop("rwtranrsformer.language_model.lm_head.weight")
    head = torch.arange(48.0)[None]
    (tmp_path / "old").mkdir()
    written(tmp_path / "old", weights | {"v_head.weight": head})
    with pytest.raises(DataError, match="weights without config.json; see .*legacy_weights.py"):
        resolve_checkpoint(tmp_path / "old")
    convert(ConvertConfig(str(tmp_path / "old"), str(tiny_llava), str(tmp_path / "new"), template="llava"))
    config = RewardScoreConfig(from_checkpoint=str(tmp_path / "new"), data_path="x", output_path="y")
    loaded = build_value_model(config, tmp_path / "new", Llava(), trainable=False, needs_head=True)
    assert torch.equal(loaded.v_head.weight, head)
    for name, tensor in loaded.model.model.language_model.state_dict().items():
        assert torch.equal(tensor, model.model.language_model.state_dict()[name])
    assert read_metadata(tmp_path / "new") == {"template": "llava"}
