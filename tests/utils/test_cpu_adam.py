"""DeepSpeed's AdamW for states in CPU memory. `python -m training.utils.engine.cpu_adam` builds it, which takes
minutes: tests of the real one are skipped where it is not built."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from tests.conftest import RECORDS
from tests.utils.test_engine import build_engine, settings
from tests.utils.test_state import restored, saved
from training.utils.config.stage_config import SFTConfig
from training.utils.data.loader import Collator
from training.utils.engine import cpu_adam

needs_it = pytest.mark.skipif(
    not cpu_adam.is_built(), reason="not built; python -m training.utils.engine.cpu_adam does"
)


@needs_it
def test_it_moves_weights_as_torchs_adamw_does_and_either_goes_on_with_the_others_state():
    torch.manual_seed(0)
    start, gradients = torch.randn(1000), torch.randn(6, 1000)

    def groups(parameter):
        return [{"params": [parameter], "lr": 1e-2, "weight_decay": 0.1}]

    def torchs(parameter):
        return torch.optim.AdamW(groups(parameter), lr=1e-2, betas=(0.9, 0.95), fused=True)

    def deepspeeds(parameter):
        return cpu_adam.build_cpu_adam(groups(parameter), 1e-2, (0.9, 0.95))

    found = []
    for kinds in [(torchs, torchs), (deepspeeds, deepspeeds), (torchs, deepspeeds), (deepspeeds, torchs)]:
        parameter, state = torch.nn.Parameter(start.clone()), None
        for kind, some in zip(kinds, gradients.split(3), strict=True):
            optimizer = kind(parameter)
            if state:
                optimizer.load_state_dict(state)
            for gradient in some:
                parameter.grad = gradient.clone()
                optimizer.step()
            state = optimizer.state_dict()
        found.append(parameter.detach())
    assert (found[0] - start).abs().max() > 1e-2
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-6, rtol=0)


def take_step(engine, batch):
    engine.backward(-engine(batch).mean())
    engine.step([batch])


@needs_it
@pytest.mark.parametrize("zero_stage", [2, 3])
def test_an_engine_uses_it_for_state_in_cpu_memory_and_a_run_goes_on_without_it(
    zero_stage, tiny_llava, encoder, tmp_path, monkeypatch, capsys
):
    batch = Collator(encoder, True)(encoder.encode_all(RECORDS))
    config = SFTConfig(**settings(tiny_llava, zero_stage=zero_stage, offload=True))

    def engine(usable):
        monkeypatch.setattr(cpu_adam, "is_usable", lambda: usable)
        made = build_engine(config)
        assert ("CPUAdam" in type(made.adamw).__name__) == usable
        return made

    weights = []
    for first, second in ((False, False), (True, True), (True, False), (False, True)):
        before = engine(first)
        take_step(before, batch)
        (folder := tmp_path / f"{first} {second}").mkdir()
        after = restored(engine(second), saved(before, folder))
        take_step(after, batch)
        weights.append(after.state_dict())
    for other in weights[1:]:
        for name, tensor in weights[0].items():
            torch.testing.assert_close(other[name], tensor, atol=1e-5, rtol=0, msg=name)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cpu_adam.is_usable.cache_clear()
    yield cpu_adam.build_folder()
    cpu_adam.is_usable.cache_clear()


def test_without_a_gpu_nothing_is_built_and_it_is_said_how(empty, capsys):
    assert not cpu_adam.is_usable()
    assert "updated by torch's AdamW" in (said := capsys.readouterr().out)
    assert (
        "it is not built; python -m training.utils.engine.cpu_adam does so" in said and said.count("\n") == 1
    )


def test_why_it_can_not_be_built_is_said(empty, monkeypatch):
    monkeypatch.setattr(cpu_adam, "BUILD", "raise RuntimeError('no compiler')")
    assert cpu_adam.build() == "RuntimeError: no compiler"
    assert not cpu_adam.is_built()


def test_a_build_has_a_time_limit_and_leaves_nothing_that_others_wait_for(empty, monkeypatch):
    monkeypatch.setattr(cpu_adam, "BUILD", "import time; time.sleep(60)")
    assert cpu_adam.build(limit_s=1) == "building it took longer than 1 s"
    (empty / "cpu_adam").mkdir()
    (empty / "cpu_adam" / "lock").touch()  # of torch, from a build that was killed
    looks = f"import pathlib; assert not pathlib.Path({str(empty / 'cpu_adam' / 'lock')!r}).exists()"
    monkeypatch.setattr(cpu_adam, "BUILD", looks)
    assert cpu_adam.build() == "" and cpu_adam.is_built()


def test_a_build_of_another_process_is_waited_for_as_long_as_it_lives(empty):
    empty.mkdir(parents=True)
    holds = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True)"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{holds}; time.sleep(60)", str(empty / "lock")], stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    assert "another process has been building there for 1 s" in cpu_adam.build(limit_s=1)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    (empty / "built").touch()
    assert cpu_adam.build(limit_s=1) == ""
