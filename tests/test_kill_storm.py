"""A small storm; `python -m scripts.kill_storm` kills hundreds of times. And what it would notice."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from scripts.storm.cases import Case, differences
from tests.conftest import ROOT


def test_killed_runs_end_as_uninterrupted_ones():
    command = ["-m", "scripts.kill_storm", "--kills", "24", "--only", "sft", "ppo", "predict", "judge"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "24 kills in " in done.stdout


AT_ONCE = """
import os, sys, time
from pathlib import Path
from scripts.storm.job import Job
set_group = os.setpgid
def late(pid, group):
    time.sleep(0.2 * (pid == 0))  # in the process itself, on a busy machine
    set_group(pid, group)
os.setpgid = late
job = Job("this", [], Path(sys.argv[1]))
job.kill()
assert job.wait(10) and list(job.statuses.values()) == [-9], job.statuses
"""


IN_ITS_BAR = """
import runpy, sys, time
from pathlib import Path
from tqdm.auto import tqdm
from scripts.storm.job import Job
tqdm([], disable=True)  # the process that forks has had a bar too
def holds(*_, **__):
    with tqdm.get_lock():
        Path(sys.argv[1]).touch()
        time.sleep(60)
def moves(*_, **__):
    with tqdm.get_lock():
        pass
told = Path(sys.argv[1]).with_name("told")
runpy.run_module = holds
killed = Job("this", [sys.argv[1]], told)
while not Path(sys.argv[1]).exists():
    assert killed.is_running(), told.read_text()
    time.sleep(0.01)
killed.kill()
runpy.run_module = moves
assert Job("this", [], told).ended(10), "waits for one that was killed"
"""


@pytest.mark.parametrize("script", [AT_ONCE, IN_ITS_BAR], ids=["as soon as it is there", "in its bar"])
def test_a_process_can_be_killed_at_any_moment(script, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "file"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def write_run(folder, weight=1.0, loss=2.0, answer="a"):
    (folder / "epoch-0").mkdir(parents=True)
    (folder / "latest").write_text("epoch-0\n")
    save_file({"w": torch.tensor([weight])}, folder / "epoch-0" / "model.safetensors")
    line = {"step": 1, "loss": loss, "elapsed_s": hash(folder), "tokens_per_s": 3.0}
    (folder / "log.jsonl").write_text(json.dumps(line) + "\n")
    (folder / "rollouts.jsonl").write_text(json.dumps({"step": 1, "responses": [answer]}) + "\n")
    return folder


@pytest.mark.parametrize(
    ("change", "noticed"),
    [
        ({}, []),
        ({"weight": 1.0000001}, ["model.safetensors"]),
        ({"loss": 2.0000001}, ["log.jsonl"]),
        ({"answer": "b"}, ["rollouts.jsonl"]),
    ],
)
def test_the_storm_notices_the_smallest_difference(change, noticed, tmp_path):
    case = Case("ppo", "training.ppo.train_ppo", [])
    assert differences(case, write_run(tmp_path / "a"), write_run(tmp_path / "b", **change)) == noticed
