"""The engine: its modes from the first step on, sums of gradients, and steps that are not finite."""

import json
import logging
import math
import shutil

import pytest
import torch
from deepspeed.utils import safe_get_full_grad
from safetensors.torch import load_file

from tests.conftest import RECORDS, SAMPLES
from tests.tiny_families import build_tiny
from tests.utils.test_state import restored, saved
from training.dpo.train_dpo import main as train_dpo
from training.ppo import update as ppo_update
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.train_rm import main as train_rm
from training.sft.train_sft import main as train_sft
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig
from training.utils.data.loader import Collator
from training.utils.engine.counts import NonFiniteLoss
from training.utils.engine.engine import Engine
from training.utils.losses.policy import RunningMoments
from training.utils.model.build_model import build_policy, get_family

NUM_LAYERS = 2  # decoder layers of the tiny models


def settings(checkpoint, output="unused", **more):
    return {
        "from_checkpoint": str(checkpoint),
        "data_path": "unused",
        "output_dir": str(output),
        "max_seq_len": 256,
        "lang_decoder_update": True,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
    } | more


def build_engine(config, steps=10):
    family = get_family("auto", config.from_checkpoint)
    return Engine(build_policy(config, config.from_checkpoint, family), config, total_steps=steps)


@pytest.fixture(scope="module")
def dropping(tiny_llava, tmp_path_factory):
    """The tiny LLaVA with attention dropout in language model and tower."""
    folder = tmp_path_factory.mktemp("dropout") / "llava"
    shutil.copytree(tiny_llava, folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["attention_dropout"] = config["vision_config"]["attention_dropout"] = 0.3
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def batch(encoder):
    return Collator(encoder, True)(encoder.encode_all(RECORDS))


# -- modes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
def test_every_stage_recomputes_each_layer_once_from_its_first_backward_on(family, tmp_path, monkeypatch):
    recomputed = []
    backward = Engine.backward

    def counting(engine, loss):
        layers = [part for part in engine.module.modules() if type(part).__name__.endswith("DecoderLayer")]
        calls = []  # a layer's attention, since transformers recomputes a layer without its own hooks
        hooks = [layer.self_attn.register_forward_pre_hook(lambda *_: calls.append(1)) for layer in layers]
        backward(engine, loss)
        for hook in hooks:
            hook.remove()
        recomputed.append(len(calls))

    monkeypatch.setattr(Engine, "backward", counting)
    model = build_tiny(family, tmp_path / "model")
    ppo = {"reward_model_ckpt_path": [str(tmp_path / "rm")], "max_generation_length_of_sampling": 4}
    stages = {
        "sft": (train_sft, SFTConfig, "sft.json", {}),
        "rm": (train_rm, RewardConfig, "reward.json", {}),
        "dpo": (train_dpo, DPOConfig, "reward.json", {}),
        "ppo": (train_ppo, PPOConfig, "ppo.json", ppo),
    }
    for name, (train, config_class, file, more) in stages.items():
        data = {"data_path": str(SAMPLES / file), "dataset_samples": "6", "max_steps": 2, "eval_step": 1}
        data["data_train_split_ratio"] = 0.8
        config = config_class(**settings(model, tmp_path / name, gradient_checkpointing=True, **data, **more))
        train(config)
        engines = 2 if name == "ppo" else 1
        assert recomputed == [NUM_LAYERS] * 2 * engines, name  # evaluated in between
        recomputed.clear()


def test_dropout_acts_alike_before_and_after_an_evaluation_and_never_within(dropping, batch):
    engine = build_engine(SFTConfig(**settings(dropping)))

    def logps(seed):
        torch.manual_seed(seed)
        with torch.no_grad():
            return engine(batch)

    before = logps(0)
    assert not torch.equal(before, logps(1))
    with pytest.raises(RuntimeError, match="reward"), engine.evaluating():
        assert torch.equal(logps(0), logps(1))
        with engine.evaluating():
            pass
        assert torch.equal(logps(0), logps(1))
        raise RuntimeError("a reward function fails")
    assert torch.equal(before, logps(0))


@pytest.mark.parametrize(
    ("config_class", "more"),
    [
        (DPOConfig, {}),
        (PPOConfig, {"reward_functions": ["math:fsum"], "critic_init": "policy"}),
        (SFTConfig, {"lang_decoder_update": False}),  # only the projector is trained, which drops nothing
    ],
)
def test_preference_training_and_frozen_parts_drop_nothing_out(config_class, more, dropping, batch):
    engine = build_engine(config_class(**settings(dropping, **more)))
    assert engine.is_training
    torch.manual_seed(0)
    with torch.no_grad():
        in_training, again = engine(batch), engine(batch)
        with engine.evaluating():
            expected = engine(batch)
    assert torch.equal(in_training, again) and torch.equal(in_training, expected)


# -- gradients --------------------------------------------------------------------------------------


def gradient(checkpoint, trees, collate, num_batches, **more):
    """The gradient of the mean loss of some records that are cut into micro-batches."""
    config = SFTConfig(**settings(checkpoint, gradient_accumulation_steps=num_batches, **more))
    engine = build_engine(config)
    total = sum(len(response.ids) for tree in trees for response in tree.responses)
    size = len(trees) // num_batches
    for first in range(0, len(trees), size):
        engine.backward(-engine(collate(trees[first : first + size])).sum() / total)
    found = [safe_get_full_grad(p) for p in engine.module.parameters() if p.requires_grad]
    return torch.cat([grad.flatten().double() for grad in found])


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_a_sum_of_many_bf16_gradients_is_as_exact_as_one(zero_stage, tiny_llava, encoder):
    (tree,) = encoder.encode_all(RECORDS[2:])  # without a picture, to be quick
    trees = [tree.with_responses([torch.randint(5, 300, (6,)).tolist()], set()) for _ in range(128)]
    collate = Collator(encoder, has_images=False)
    exact = gradient(tiny_llava, trees, collate, 1)

    def error(num_batches):
        found = gradient(tiny_llava, trees, collate, num_batches, zero_stage=zero_stage, precision="bf16")
        return float((found - exact).norm() / exact.norm())

    assert error(128) <= error(1)


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_each_step_takes_as_many_micro_batches_as_it_is_told(zero_stage, tiny_llava, encoder):
    """Steps of 2, 1 and 3 micro-batches move the weights as steps of one do."""
    trees = encoder.encode_all(RECORDS)
    collate = Collator(encoder, has_images=True)

    def trained(cuts):
        engine = build_engine(SFTConfig(**settings(tiny_llava, zero_stage=zero_stage, learning_rate=1e-3)))
        total = sum(len(response.ids) for tree in trees for response in tree.responses)
        figures = []
        for cut in cuts:
            engine.accumulation = len(cut)
            batches = [collate(trees[first:last]) for first, last in cut]
            for batch in batches:
                engine.backward(-engine(batch).sum() / total)
            figures.append(engine.step(batches))
        return engine.state_dict(), figures

    expected, plain = trained([[(0, 3)]] * 3)
    found, by_parts = trained([[(0, 2), (2, 3)], [(0, 3)], [(0, 1), (1, 2), (2, 3)]])
    for one, other in zip(plain, by_parts, strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=0, msg=name)


# -- steps that are not finite ----------------------------------------------------------------------


def bad_loss(loss):
    return loss + math.inf  # whose gradient is finite


def bad_gradient(loss):
    return loss + (loss * 0).square().sqrt()  # the root's slope at 0 is infinite


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_a_step_that_is_not_finite_is_as_if_it_had_not_been(zero_stage, precision, tiny_llava, batch, caplog):
    def trained(*steps):
        """Weights after some steps of two micro-batches, the second of which is spoilt."""
        config = SFTConfig(
            **settings(
                tiny_llava,
                zero_stage=zero_stage,
                precision=precision,
                gradient_accumulation_steps=2,
                max_bad_steps=2,
            )
        )
        engine = build_engine(config)
        figures = []
        for spoil in steps:
            for change in (None, spoil):
                loss = -engine(batch).mean()
                engine.backward(change(loss) if change else loss)
            figures.append(engine.step([batch, batch]))
        return engine, figures

    with caplog.at_level(logging.WARNING):
        engine, figures = trained(None, bad_gradient, bad_loss, None)
    assert [step.get("bad_steps", 0) for step in figures] == [0, 1, 2, 2]
    assert math.isfinite(figures[1]["loss"]) and not math.isfinite(figures[2]["loss"])
    assert (
        "the gradient of optimizer step 2 is not finite; its records: r-0, r-1-2, r; passed over, 1"
        in caplog.text
    )
    assert engine.counts.bad_in_a_row == 0
    undisturbed, figures = trained(None, None)
    assert "bad_steps" not in figures[-1]
    expected, found = undisturbed.state_dict(), engine.state_dict()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_the_records_to_blame_are_those_of_the_micro_batch_and_too_many_bad_steps_end_the_run(
    tiny_llava, encoder, tmp_path
):
    config = SFTConfig(**settings(tiny_llava, gradient_accumulation_steps=2, max_bad_steps=1))
    engine = build_engine(config)
    batches = [Collator(encoder, True)(encoder.encode_all([record])) for record in RECORDS[:2]]

    def step():
        engine.backward(-engine(batches[0]).mean())
        engine.backward(bad_loss(-engine(batches[1]).mean()))
        return engine.step(batches)

    assert step()["bad_steps"] == 1
    resumed = build_engine(config)
    restored(resumed, saved(engine, tmp_path))
    assert (resumed.counts.steps, resumed.counts.bad_steps, resumed.counts.bad_in_a_row) == (1, 1, 1)
    with pytest.raises(
        NonFiniteLoss, match=r"loss of optimizer step 2 is inf; its records: r-1-2; the weights"
    ):
        step()


def strict_lines(output):
    """The log, by a parser that takes JSON alone."""

    def refuse(token):
        raise ValueError(token)

    return [
        json.loads(line, parse_constant=refuse) for line in (output / "log.jsonl").read_text().splitlines()
    ]


def weights(output):
    return load_file(output / (output / "latest").read_text().strip() / "model.safetensors")


def test_a_stage_passes_over_a_bad_record_alike_when_it_is_resumed_there(tiny_llava, tmp_path, caplog):
    records = [
        {
            "id": f"r{number}",
            "conversations": [
                {"from": "human", "value": f"What is {number}?"},
                {"from": "gpt", "value": ["A number.", "No"]},
            ],
            "scores": [1e30 if number == 3 else 1.0, 0.0],  # its square is infinite in fp32
        }
        for number in range(6)
    ]
    data = tmp_path / "scored.json"
    data.write_text(json.dumps(records))

    def train(name, **more):
        more |= {"data_path": str(data), "per_device_train_batch_size": 1, "max_steps": 6, "save_step": 1}
        more |= {"loss_type": "regression", "data_train_split_ratio": 1.0, "resume": "auto"}
        torch.manual_seed(0)  # the new value head
        train_rm(RewardConfig(**settings(tiny_llava, tmp_path / name, **more)))

    with caplog.at_level(logging.WARNING):
        train("whole", max_bad_steps=1)
    assert "is inf; its records: r3; passed over, 1 in a row" in caplog.text
    with pytest.raises(NonFiniteLoss, match="is inf; its records: r3; the weights have not moved"):
        train("stopped")
    train("stopped", max_bad_steps=1)
    lines = strict_lines(tmp_path / "whole")
    bad = next(number for number, line in enumerate(lines) if line["loss"] is None)
    assert [line.get("bad_steps", 0) for line in lines] == [0] * bad + [1] * (6 - bad) and bad < 5
    assert (tmp_path / "stopped" / "curves.png").is_file()
    assert [line["loss"] for line in strict_lines(tmp_path / "stopped")] == [line["loss"] for line in lines]
    whole, stopped = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("engine", ["actor", "critic"])
def test_an_update_of_ppo_that_is_not_finite_is_passed_over(engine, tiny_llava, tmp_path, monkeypatch):
    name = {"actor": "policy_losses", "critic": "ppo_value_loss"}[engine]
    right, calls = getattr(ppo_update, name), []

    def spoilt_once(*args):
        found = right(*args)
        calls.append(1)
        if len(calls) > 1:
            return found
        return (found[0] * math.nan, *found[1:]) if isinstance(found, tuple) else found * math.nan

    monkeypatch.setattr(ppo_update, name, spoilt_once)
    more = {"data_path": str(SAMPLES / "ppo.json"), "dataset_samples": "6", "max_steps": 2}
    more |= {"max_generation_length_of_sampling": 4, "kl_target": 1.0, "critic_init": "policy"}
    more |= {"reward_functions": ["tests.utils.test_engine:number_of_letters"], "max_bad_steps": 1}
    train_ppo(PPOConfig(**settings(tiny_llava, tmp_path / "ppo", **more)))
    lines = [line for line in strict_lines(tmp_path / "ppo") if "kl_coef" in line]
    assert [line[f"{engine}_bad_steps"] for line in lines] == [1, 1]
    loss = "policy_loss" if engine == "actor" else "value_loss"
    assert lines[0][loss] is None and lines[1][loss] is not None
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "ppo").values())


def number_of_letters(record, responses):
    return [float(len(response)) for response in responses]


def test_a_score_that_is_not_finite_does_not_stay_in_the_moments():
    moments = RunningMoments()
    moments.add(torch.tensor([1.0, math.nan, 3.0, math.inf]))
    assert (moments.count, moments.mean) == (2, 2.0)
