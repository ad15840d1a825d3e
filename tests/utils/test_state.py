"""A state goes on in any world: it is what training has changed, by the element, and holds no code."""

import json
import random

import numpy as np
import pytest
import torch

from tests.conftest import RECORDS
from training.utils.checkpoint.engine_state import restore
from training.utils.checkpoint.random_state import random_state, seed_anew, set_random_state
from training.utils.checkpoint.snapshot import State
from training.utils.checkpoint.state_files import Fragments, read_facts
from training.utils.checkpoint.states import STATE
from training.utils.config.stage_config import SFTConfig
from training.utils.data.loader import Collator
from training.utils.data.record import DataError
from training.utils.engine.engine import Engine
from training.utils.model.build_model import build_policy, get_family

TOLERANCE = {"fp32": 1e-5, "bf16": 2e-3}


@pytest.fixture
def batch(encoder):
    return Collator(encoder, True)(encoder.encode_all(RECORDS))


def build(checkpoint, zero_stage=0, precision="fp32", tied=False, **more):
    settings = {"from_checkpoint": str(checkpoint), "data_path": "unused", "output_dir": "unused"}
    settings |= {"lang_decoder_update": True, "learning_rate": 1e-3, "max_seq_len": 256}
    config = SFTConfig(**settings, zero_stage=zero_stage, precision=precision, **more)
    policy = build_policy(config, checkpoint, get_family("auto", checkpoint))
    if tied:
        policy.model.lm_head.weight = policy.model.get_input_embeddings().weight
    policy.register_buffer("seen", torch.zeros(2, 2))  # as a batch norm has
    return Engine(policy, config, total_steps=20)


def saved(engine, folder):
    """The folder, with the state of an engine in it."""
    State.of({"engine": engine}, {}, {"step": 1, "stage": {}}).write(folder)
    return folder


def restored(engine, folder):
    with Fragments(folder / STATE, "engine") as found:
        restore(engine, read_facts(folder / STATE)["engines"]["engine"], found.read)
    return engine


def losses(engine, batch, steps):
    found = []
    for _ in range(steps):
        engine.module.seen += 1
        engine.backward(-engine(batch).mean())
        found.append(engine.step([batch])["loss"])
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_zero_stage_goes_on_from_every_other_one(precision, tiny_llava, batch, tmp_path):
    for before in range(4):
        engine = build(tiny_llava, before, precision)
        losses(engine, batch, 3)
        folder = tmp_path / str(before)
        folder.mkdir()
        saved(engine, folder)
        expected = losses(engine, batch, 3)
        for after in range(4) if precision == "fp32" else (before, 3 - before):
            offload = after > 0 and after != before
            again = restored(build(tiny_llava, after, precision, offload=offload), folder)
            found = losses(again, batch, 3)
            assert found == pytest.approx(expected, abs=TOLERANCE[precision]), (before, after)
            assert again.module.seen.tolist() == [[6, 6], [6, 6]]
            if after == before:
                assert found == expected
                whole, gone_on = engine.state_dict(), again.state_dict()
                assert all(torch.equal(tensor, gone_on[name]) for name, tensor in whole.items())


def test_without_zero_16_bit_learns_from_the_first_step_on_as_with_it(tiny_llava, batch):
    """DeepSpeed's optimizer there makes a step on zeros when it is built, which AdamW's bias correction counts."""
    found = [losses(build(tiny_llava, stage, "bf16", weight_decay=0.5), batch, 4) for stage in (0, 2)]
    assert found[0] == pytest.approx(found[1], abs=2e-3)


def test_copies_of_what_is_trained_take_as_much_at_every_stage(tiny_llava):
    sizes = [build(tiny_llava, stage, "bf16").trained_bytes for stage in (0, 2, 3)]
    trained = [p for p in build(tiny_llava).module.parameters() if p.requires_grad]
    assert sizes == [2 * sum(map(torch.numel, trained))] * 3


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_tied_weights_are_one_in_what_is_saved(zero_stage, tiny_llava):
    state = build(tiny_llava, zero_stage, tied=True).state_dict()
    ends = [t for name, t in state.items() if name.endswith(("lm_head.weight", "embed_tokens.weight"))]
    assert len(ends) == 2 and ends[0].data_ptr() == ends[1].data_ptr() and ends[0].numel() > 0


def test_a_state_from_before_the_first_update_goes_on_too(tiny_llava, batch, tmp_path):
    """As that of a policy whose critic learns alone at first."""
    engine = build(tiny_llava, 2, "bf16")
    saved(engine, tmp_path)
    expected = losses(engine, batch, 3)
    for stage in (0, 2):
        assert losses(restored(build(tiny_llava, stage, "bf16"), tmp_path), batch, 3) == expected


def test_a_copy_stays_what_it_was_while_training_goes_on(tiny_llava, batch, tmp_path):
    engine = build(tiny_llava)
    losses(engine, batch, 2)
    state = State.of({"engine": engine}, {}, {"step": 1, "stage": {}}).copy()
    weights, before = engine.state_dict(), {n: t.clone() for n, t in engine.module.state_dict().items()}
    expected = losses(engine, batch, 3)
    state.write(tmp_path)
    assert losses(restored(build(tiny_llava), tmp_path), batch, 3) == expected
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())


def test_another_version_and_a_missing_part_are_refused_in_a_sentence(tiny_llava, batch, tmp_path):
    engine = build(tiny_llava)
    losses(engine, batch, 1)
    (file,) = saved(engine, tmp_path).glob("state/engine-*")
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match="state: holds no master of elements 0 to .* of the engine; resume from"
    ):
        restored(build(tiny_llava), tmp_path)
    about = json.loads((tmp_path / STATE / "run.json").read_text())
    (tmp_path / STATE / "run.json").write_text(json.dumps(about | {"version": 3}))
    with pytest.raises(
        DataError, match="is a checkpoint of version 3, and this program reads version 2; end"
    ):
        read_facts(tmp_path / STATE)
    (tmp_path / STATE / "run.json").unlink()
    (tmp_path / STATE / "random-0.pt").touch()
    with pytest.raises(
        DataError, match=r"version 1 \(its state is pickled.*or train on from its model, --from_"
    ):
        read_facts(tmp_path / STATE)


def test_random_numbers_go_on_and_are_others_on_each_process_where_there_are_more():
    def numbers():
        return random.random(), np.random.rand(), float(torch.rand(()))

    state = json.loads(json.dumps(random_state()))
    expected = numbers()
    set_random_state(state)
    assert numbers() == expected
    drawn = []
    for place in ((7, 2, 0), (7, 2, 1), (7, 3, 0), (7, 2, 0)):
        seed_anew(*place)
        drawn.append(numbers())
    assert drawn[0] == drawn[3] and len({number for some in drawn for number in some}) == 9
