"""A few faults; `python -m scripts.faults` tries them all. And what it would notice."""

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from scripts.storm.faulty import Row, faults_of
from scripts.storm.strike import refused
from tests.conftest import ROOT


def test_runs_that_meet_a_fault_say_so_and_go_on():
    command = [sys.executable, "-m", "scripts.faults", "--few"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "4 of 4 rows are as they should be" in done.stdout


ROW = Row("full", "SFT", refused(errno.ENOSPC, "*/log.jsonl"), "the disk is full", "log.jsonl")
SAID = "error: /x/log.jsonl: the disk is full; make room, and start again\n"


@pytest.mark.parametrize(
    ("text", "status", "noticed"),
    [
        (f"training\n{SAID}", 1, []),
        (SAID, 2, ["status 2, expected 1"]),
        ("", 1, ["0 sentences", "does not say"]),
        (SAID * 2, 1, ["2 sentences"]),
        (f"Traceback (most recent call last)\n{SAID}", 1, ["prints Traceback"]),
        (SAID.replace("/x/log.jsonl", "a file"), 1, ["does not say"]),
    ],
)
def test_it_notices_what_is_said_otherwise(text, status, noticed):
    found = faults_of(ROW, text, status)
    assert len(found) == len(noticed) and all(map(str.startswith, found, noticed)), found


def test_a_refused_file_takes_half_and_no_more(tmp_path, monkeypatch):
    import builtins

    import safetensors.torch
    import torch

    for place, name in ((io, "open"), (builtins, "open"), (safetensors.torch, "serialize_file")):
        monkeypatch.setattr(place, name, getattr(place, name))  # so that they are put back
    monkeypatch.delenv("RANK", raising=False)
    refused(errno.ENOSPC, "*/a*", skipped=1).install()
    (tmp_path / "a.txt").write_text("first")
    with pytest.raises(OSError, match="No space left") as told:
        (tmp_path / "a.txt").write_text("12345678")
    assert told.value.filename is None and (tmp_path / "a.txt").read_text() == "1234"
    refused(errno.EDQUOT, "*/b*").install()
    with pytest.raises(SafetensorError, match=r"\(os error 122\)"):
        safetensors.torch.save_file({"w": torch.zeros(9)}, Path(tmp_path / "b"))
