"""What is due after which step."""

import pytest

from training.utils.config.stage_config import SFTConfig
from training.utils.data.sampler import StepSampler
from training.utils.loop import pace as module
from training.utils.loop.pace import Pace
from training.utils.process.stop import requests
from training.utils.process.watch import hang

MINUTE = 60.0


@pytest.fixture
def clock(monkeypatch):
    """Seconds since the process started, to be set by a test."""
    now = [0.0]
    monkeypatch.setattr(module, "STARTED_S", 0.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def build_pace(num_steps=7, start_step=0, **flags) -> Pace:
    config = SFTConfig(from_checkpoint="x", data_path="x", output_dir="x", **flags)
    sampler = StepSampler(6, per_device=2, accumulation=1, num_steps=num_steps, seed=0)  # 3 steps an epoch
    sampler.start_step = start_step
    return Pace(config, sampler)


def test_epochs_save_step_and_eval_step(clock):
    pace = build_pace(save_step=2, eval_step=4)
    dues = {step: pace.after(step) for step in range(1, 8)}
    assert [step for step, due in dues.items() if due.checkpoint] == [2, 3, 4, 6]
    assert [step for step, due in dues.items() if due.evaluation] == [4, 7]
    assert {step: due.model for step, due in dues.items() if due.model} == {
        3: "epoch-0",
        6: "epoch-1",
        7: "epoch-2",
    }


def test_save_minutes_count_from_the_last_checkpoint(clock):
    pace = build_pace(num_steps=100, save_minutes=10.0)
    saved = []
    for step in (1, 2, 4, 5, 7):  # none ends an epoch
        clock[0] += 6 * MINUTE
        if pace.after(step).checkpoint:
            saved.append(step)
    assert saved == [2, 5]


@pytest.mark.parametrize("last", [False, True])
def test_max_hours_stop_a_run_but_not_at_its_last_step(last, clock):
    pace = build_pace(num_steps=2 if last else 4, max_hours=1.5, eval_step=1)
    numbers = []
    for step, _ in pace.steps("abcd"[: pace.sampler.num_steps]):
        numbers.append(step)
        clock[0] += 50 * MINUTE
        due = pace.after(step)
    assert numbers == [1, 2] and due.checkpoint == (not last) and due.evaluation == last
    assert pace.stopped_by == ("" if last else "--max_hours")


def test_a_request_ends_the_steps_after_the_one_that_is_under_way(clock):
    pace, numbers = build_pace(start_step=3, eval_step=1), []
    for step, item in pace.steps("defg"):
        numbers.append((step, item))
        assert requests.deferred
        requests.name = "SIGTERM" if step == 5 else ""
        due = pace.after(step)
    requests.name = ""
    assert numbers == [(4, "d"), (5, "e")] and due.checkpoint and not due.evaluation
    assert pace.stopped_by == "SIGTERM" and not requests.deferred


def test_a_step_that_takes_too_long_is_noticed_with_where_the_main_thread_is(clock):
    pace = build_pace(max_step_minutes=30)
    for step, _ in pace.steps("ab"):
        clock[0] += 20 * MINUTE
        assert not hang()
        pace.after(step)
        clock[0] += 20 * MINUTE  # a checkpoint is written meanwhile
        assert not hang()
        clock[0] += 11 * MINUTE
        ending = hang()
        assert (
            ending.status == 1 and not ending.is_echo and "no step was made for 30 minutes" in ending.message
        )
        assert (
            f'File "{__file__}", line ' in ending.details and ", in test_a_step_that_takes" in ending.details
        )
    clock[0] += 100 * MINUTE
    assert not hang()  # the loop is over
