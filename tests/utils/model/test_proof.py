"""`auto` with a model of no family of the table: it proves that it is right, or is refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import RECORDS, record
from tests.tiny_families import aya_vision, build_tiny, save_tiny
from training.utils.config.stage_config import SFTConfig
from training.utils.data.record import DataError
from training.utils.loop.prepare import build_encoder
from training.utils.model import build_model, proof
from training.utils.model.other import OtherFamily

IMAGES = [record("<image>\nWhat is this?"), record("<image><image>\nWhich?", images=(1, 2))]


@pytest.fixture(scope="module")
def aya(tmp_path_factory):
    return save_tiny(aya_vision, "<image>", tmp_path_factory.mktemp("proof") / "aya")


def settings(folder, **more):
    return SFTConfig(from_checkpoint=str(folder), data_path="x", output_dir="x", **more)


def opened(folder, records=(), **more):
    """A policy as a stage builds it."""
    config = settings(folder, **more)
    encoder = build_encoder(config, folder)
    encoder.family.will_prove(encoder, records)
    return build_model.build_policy(config, folder, encoder.family), encoder


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("records", [(), RECORDS], ids=["made-up", "given"])
def test_an_unknown_family_that_follows_the_conventions_passes(records, precision, aya, capsys):
    policy, _ = opened(aya, records, precision=precision)
    assert isinstance(policy.family, OtherFamily) and policy.family.is_proven
    assert "aya_vision" in capsys.readouterr().out


def as_other(monkeypatch):
    monkeypatch.setattr(build_model, "FAMILIES", {})


FOUND = {
    "qwen2_vl": "the loss of the prompt's text is",
    "paligemma": "moves log-probabilities before it by",
}


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("records", [(), IMAGES], ids=["made-up", "given"])
def test_a_family_that_needs_more_is_refused_and_told_why(name, records, precision, tmp_path, monkeypatch):
    folder = build_tiny(name, tmp_path)
    as_other(monkeypatch)
    with pytest.raises(DataError, match=f"models of type {name}.*{FOUND[name]}"):
        opened(folder, records, precision=precision)


@pytest.mark.parametrize(("name", "found"), [("gemma3", "by its processor"), ("mistral3", "RuntimeError")])
def test_other_ids_and_failures_are_refused_too(name, found, tmp_path, monkeypatch):
    folder = build_tiny(name, tmp_path)
    as_other(monkeypatch)
    with pytest.raises(DataError, match=f"models of type {name}.*{found}"):
        opened(folder)


def test_answers_that_are_not_those_of_the_forward_pass_are_refused(aya, monkeypatch):
    def forgets_positions(self, model, inputs, cache):
        inputs = inputs | {"position_ids": torch.zeros_like(inputs["position_ids"])}
        return super(OtherFamily, self).cached_hidden_states(model, inputs, cache)

    monkeypatch.setattr(OtherFamily, "cached_hidden_states", forgets_positions)
    with pytest.raises(DataError, match="greedy answers"):
        opened(aya)


def test_no_model_is_built_before_it_is_known_what_to_try_it_on(aya):
    with pytest.raises(RuntimeError, match="will_prove"):
        build_model.build_policy(settings(aya), aya, OtherFamily())


@pytest.mark.parametrize("build", ["build_policy", "build_value_model"])
def test_every_model_is_tried_and_once_in_a_stage(build, aya, monkeypatch):
    tried = []
    monkeypatch.setattr("training.utils.model.other.prove", lambda *args: tried.append(args))
    config = settings(aya)
    encoder = build_encoder(config, aya)
    for trainable in (True, False):
        getattr(build_model, build)(config, aya, encoder.family, trainable=trainable)
    assert len(tried) == 1


def test_prompts_are_tried_with_many_pictures_few_and_none(aya):
    _, encoder = opened(aya)
    chosen = proof.chosen([*RECORDS, record("<s> is a token?", images=())], encoder)
    assert [len(one.images) for one in chosen] == [2, 1, 0]
    assert all(len(one.turns) == 1 for one in chosen)
    assert [len(one.images) for one in proof.chosen([RECORDS[2]], encoder)] == [2, 0]
    unreadable = replace(IMAGES[0], images=(Path("not there.png"),))
    assert proof.chosen([unreadable, IMAGES[0]], encoder)[0].images == IMAGES[0].images
