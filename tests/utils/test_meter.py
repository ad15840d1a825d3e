"""What a run writes down."""

import json
from types import SimpleNamespace

import pytest

from training.utils.files import jsonl
from training.utils.loop.meter import Meter
from training.utils.loop.tally import Tally


def meter(folder, start_step=0, **more):
    config = SimpleNamespace(output_dir=str(folder), loggers=more.pop("loggers", set()))
    return Meter(config, total_steps=4, start_step=start_step)


def steps(folder):
    return [line["step"] for line in jsonl.read(folder / "log.jsonl")]


def test_each_step_is_a_line_and_the_curves_are_drawn(tmp_path):
    log = meter(tmp_path)
    for step in range(1, 5):
        log.step(step, tokens=100, epoch=step / 2, loss=1 / step, lr=0.1)
    log.log_eval(4, eval_loss=0.5)
    log.close()
    lines = jsonl.read(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
    assert lines[1]["loss"] == 0.5 and lines[1]["tokens_per_s"] > 0 and lines[3]["eta_s"] == 0
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_the_share_of_time_that_a_run_evaluates_is_in_its_log(tmp_path, monkeypatch):
    """Steps of 10 s, evaluations of 5 s: 5 of 15 s, then 10 of 40 s."""
    now = iter([0.0, 10.0, 15.0, 25.0, 35.0, 40.0])
    monkeypatch.setattr("training.utils.loop.meter.time.monotonic", lambda: next(now))
    log = meter(tmp_path)
    log._bar = SimpleNamespace(set_postfix=lambda *_, **__: None, update=print, write=print)
    log.step(1, tokens=1)
    log.log_eval(1, eval_loss=0.5)
    log.step(2, tokens=1)
    log.step(3, tokens=1)
    log.log_eval(3, eval_loss=0.5)
    shares = [line["eval_share"] for line in jsonl.read(tmp_path / "log.jsonl") if "eval_share" in line]
    assert shares == [5 / 15, 10 / 40]


def test_the_share_of_a_step_that_waits_for_data_is_in_the_log(tmp_path, monkeypatch):
    now = iter([0.0, 10.0, 30.0])
    monkeypatch.setattr("training.utils.loop.meter.time.monotonic", lambda: next(now))
    log = meter(tmp_path)
    log.step(1, tokens=90, padding=0.1, waited_s=1.0)
    log.step(2, tokens=90, padding=0.1, waited_s=5.0)
    lines = jsonl.read(tmp_path / "log.jsonl")
    assert [line["data_wait"] for line in lines] == [0.1, 0.25]
    assert [line["padding"] for line in lines] == [0.1, 0.1]


def test_a_resumed_run_has_no_step_twice(tmp_path):
    log = meter(tmp_path)
    for step in (1, 2, 3):
        log.step(step, tokens=1, loss=1.0)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed in the middle of a line
    log = meter(tmp_path, start_step=2)
    log.step(3, tokens=1, loss=2.0)
    assert steps(tmp_path) == [1, 2, 3]
    assert jsonl.read(tmp_path / "log.jsonl")[-1]["loss"] == 2.0


def test_tensorboard_gets_the_figures(tmp_path):
    config = SimpleNamespace(output_dir=str(tmp_path), loggers={"tensorboard"})
    log = Meter(config, total_steps=1, start_step=0)
    log.step(1, tokens=1, loss=1.0)
    log.close()
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_an_average_is_over_counts_not_over_batches():
    tally = Tally()
    tally.add({"loss": (3.0, 1)})
    tally.add({"loss": (1.0, 3), "other": (5.0, 0)})
    assert tally.means() == {"loss": 1.0}
    assert tally.means() == {}


def test_log_lines_are_json(tmp_path):
    jsonl.append(tmp_path / "a.jsonl", {"step": 1, "text": "ä\n"})
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {"step": 1, "text": "ä\n"}
    assert jsonl.read(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("name", ["loss", "eval_loss"])
def test_a_log_of_one_figure_can_be_drawn(tmp_path, name):
    log = meter(tmp_path)
    log.log_eval(1, **{name: 1.0})
    log.close()
    assert (tmp_path / "curves.png").is_file()
