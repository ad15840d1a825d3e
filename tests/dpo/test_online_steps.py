"""The steps of online DPO: what moves nothing, what is written of them, and whose models rest meanwhile."""

import json

import pytest
import torch
from safetensors.torch import load_file

from eval import rollouts
from eval.rollouts import RolloutsConfig
from tests.dpo.test_online import train
from tests.ppo.test_idle import watch_rests
from tests.stages.conftest import weights
from training.utils.files import jsonl


def early(record, responses):
    """The answers to the first two prompts of a run differ in worth, and no others."""
    early.calls += 1
    return [float(n) for n, _ in enumerate(responses)] if early.calls <= 2 else [0.0 for _ in responses]


early.calls = 0


def test_a_step_without_a_pair_moves_nothing_though_adamw_is_in_motion(tiny_llava, tmp_path, monkeypatch):
    """One step of pairs, then two whose answers are all alike: the weights are those after the first."""
    more = {"reward_functions": [f"{__name__}:early"], "lr_scheduler_type": "constant", "weight_decay": 0.1}
    ends = []
    for name, max_steps in (("one", 1), ("three", 3)):
        monkeypatch.setattr(early, "calls", 0)
        lines = train(tiny_llava, tmp_path / name, max_steps=max_steps, **more)
        ends.append(weights(tmp_path / name))
    assert [line["unpaired"] == 1 for line in lines] == [False, True, True] and lines[-1]["empty_steps"] == 2
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    start = load_file(tiny_llava / "model.safetensors")
    assert any(not torch.equal(ends[0][name], start[name]) for name in start)


def test_what_was_sampled_is_a_file_that_opens_as_a_page(tiny_llava, tmp_path):
    """The scores are the lengths of the texts; the KL of a first step is nil, and each token has it."""
    train(tiny_llava, tmp_path, max_steps=2, learning_rate=3e-2)
    lines = jsonl.read(tmp_path / "rollouts.jsonl")
    assert [line["step"] for line in lines] == [1] * 8 + [2] * 8
    for line in lines:
        assert line["scores"] == [len(text) for text in line["responses"]] and len(line["scores"]) == 3
        assert [len(tokens["kl"]) for tokens in line["tokens"]] == [len(t["text"]) for t in line["tokens"]]
        sums = [sum(tokens["kl"]) for tokens in line["tokens"]]
        assert sums == pytest.approx(line["kl"], abs=0.01)
    kls = [[abs(kl) for line in lines if line["step"] == step for kl in line["kl"]] for step in (1, 2)]
    assert max(kls[0]) < 1e-3 and min(kls[1]) > 1e-3
    rollouts.main(RolloutsConfig(str(tmp_path)))
    page = (tmp_path / "rollouts.html").read_text()
    assert "data:image/png;base64," in page or "data:image/jpeg;base64," in page
    assert json.dumps(lines[0]["id"]) in page


@pytest.mark.parametrize(
    "more",
    [{"zero_stage": 0}, {"zero_stage": 2, "lang_lora_dim": 2, "only_optimize_lora": True}],
    ids=["full", "lora"],
)
def test_models_that_rest_are_alone_on_the_device_and_learn_the_same(
    more, tiny_llava, taste, tmp_path, monkeypatch
):
    more |= {"reward_functions": [], "reward_model_ckpt_path": [str(taste)], "precision": "bf16"}
    more |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "dataset_samples": "4"}
    expected = train(tiny_llava, tmp_path / "all", **more)
    rests = ["reward", "reference"] if not more["zero_stage"] else ["reward"]
    came, _ = watch_rests(monkeypatch, [*rests, "policy", "policy's steps"])
    assert train(tiny_llava, tmp_path / "idle", offload_idle_models=True, **more) == expected
    one, other = weights(tmp_path / "all"), weights(tmp_path / "idle")
    assert all(torch.equal(one[name], other[name]) for name in one)
    asked = "reference" if "reference" in rests else "policy"  # without its adapters it is the reference
    step = ["policy", "reward", "policy", asked, "policy", "policy's steps"]
    assert came[: 2 * len(step)] == 2 * step
