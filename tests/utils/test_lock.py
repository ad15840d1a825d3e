"""Who may write an output."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import psutil
import pytest

from tests.conftest import ROOT
from training.utils.data.record import DataError
from training.utils.files import lock
from training.utils.files.lock import Owner, hold, release

HOLDS = """
import os, sys, time
from pathlib import Path
from training.utils.files.lock import hold
hold(Path(sys.argv[1]))
if worker := os.fork():  # as a data loader's
    print(worker, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _released():
    yield
    release()


@pytest.fixture(scope="module")
def dead() -> Owner:
    process = subprocess.Popen(["true"])
    process.wait()
    return replace(Owner.this(), pid=process.pid)


def written(file, owner: Owner, age_s: float = 0.0):
    file.write_text(json.dumps(asdict(owner)))
    os.utime(file, (time.time() - age_s,) * 2)
    return file


def test_the_second_is_refused_by_name_and_a_killed_owner_is_followed(tmp_path, monkeypatch):
    file = tmp_path / "out" / ".lock"
    first = subprocess.Popen([sys.executable, "-c", HOLDS, file], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    worker = int(first.stdout.readline())
    expected = (
        rf"^{file.parent}: is in use by process {first.pid} on \S+, since 20\S+ \S+; wait for it, end it, or"
    )
    with pytest.raises(DataError, match=expected):
        hold(file)
    first.kill()
    first.wait()
    monkeypatch.setattr(lock, "LINGER_S", 0.5)
    with pytest.raises(DataError, match="held by a process that can't be seen from here"):
        hold(file)  # its worker lives on
    os.kill(worker, signal.SIGKILL)
    hold(file)
    assert json.loads(file.read_text())["pid"] == os.getpid()


def test_the_lock_of_a_dead_process_is_taken_over_and_given_back(tmp_path, dead, capsys):
    file = written(tmp_path / ".lock", dead)
    hold(file)
    assert json.loads(file.read_text())["pid"] == os.getpid()
    assert f"the lock of process {dead.pid} on " in capsys.readouterr().out
    hold(file)  # by the same process
    release()
    assert not file.exists()


def test_a_process_of_the_same_number_is_not_the_owner(tmp_path):
    hold(written(tmp_path / ".lock", replace(Owner.this(), pid=os.getppid(), started=1.0)))


@pytest.mark.parametrize(("age_s", "is_free"), [(0, False), (60, False), (200, True)])
def test_an_owner_on_another_machine_counts_as_gone_when_it_no_longer_touches_its_lock(
    age_s, is_free, tmp_path
):
    owner = replace(Owner.this(), host="node7", boot="another", since="2026-01-02 03:04:05+00:00")
    file = written(tmp_path / ".lock", owner, age_s)
    if is_free:
        hold(file)
        return
    expected = (
        f"is in use by process {owner.pid} on node7, since 2026-01-02 .*; if it is gone, start again in 120 s"
    )
    with pytest.raises(DataError, match=expected):
        hold(file)


def touch_until(event, file):
    while not event.wait(0.02):
        os.utime(file)


@pytest.mark.parametrize("is_touched", [False, True])
def test_a_clock_that_was_set_back_makes_no_dead_owner_last(is_touched, tmp_path, monkeypatch):
    """By its age this lock would count as alive for a day."""
    monkeypatch.setattr(lock, "TOUCH_S", 0.2)
    owner = replace(Owner.this(), host="node7", boot="another")
    file = written(tmp_path / ".lock", owner, age_s=-24 * 3600.0)
    gone = threading.Event()
    if not is_touched:
        return hold(file)
    threading.Timer(0.1, touch_until, (gone, file)).start()
    try:
        with pytest.raises(DataError, match="is in use by process .* on node7"):
            hold(file)
    finally:
        gone.set()


def test_an_owner_stays_alive_when_the_clock_is_set(monkeypatch):
    """The system reckons both times from the clock of now."""
    owner = Owner.this()
    boot, created = psutil.boot_time, psutil.Process.create_time
    monkeypatch.setattr(psutil, "boot_time", lambda: boot() - 24 * 3600.0)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created(process) - 24 * 3600.0)
    assert owner.is_alive and Owner.this().started == pytest.approx(owner.started, abs=2)


def test_a_lock_that_was_cut_while_it_was_written_is_nobodys(tmp_path):
    (tmp_path / ".lock").write_text('{"host": "no')
    hold(tmp_path / ".lock")
