"""A run that is asked to stop saves, says so, ends with status 85, and goes on as if nothing had been."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest
import torch

from tests.conftest import ROOT, SAMPLES
from tests.stages.conftest import command, log, run, weights
from training.dpo.train_dpo import main as train_dpo
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.train_rm import main as train_rm
from training.sft.train_sft import main as train_sft
from training.utils.config.arguments import parse_args
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig
from training.utils.loop.meter import Meter
from training.utils.process.stop import Stopped, requests

STAGES = {
    "sft": (train_sft, SFTConfig),
    "reward_model": (train_rm, RewardConfig),
    "dpo": (train_dpo, DPOConfig),
    "ppo": (train_ppo, PPOConfig),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_request_to_stop_is_heard_after_the_step_and_the_run_goes_on_from_there(
    stage, tiny_llava, tmp_path, monkeypatch
):
    main, config_class = STAGES[stage]

    def train(output):
        flags = ["--max_steps", 3, "--eval_step", 1, "--resume", "auto", "--dataset_samples", 12]
        if stage == "ppo":
            flags += ["--reward_functions", "tests.ppo.test_rewards:num_characters"]
            flags += ["--advantage_estimator", "grpo"]
        main(parse_args(config_class, command(stage, tiny_llava, output, *flags)[2:]))

    def step(self, number, **figures):
        original(self, number, **figures)
        requests.name = "SIGUSR1" if number == 2 else ""

    train(tmp_path / "whole")
    original = Meter.step
    with monkeypatch.context() as patched:
        patched.setattr(Meter, "step", step)
        expected = (
            rf"SIGUSR1 asked for it; {tmp_path}/stopped/checkpoint-2 is written; to go on, start it again$"
        )
        with pytest.raises(Stopped, match=expected) as caught:
            train(tmp_path / "stopped")
    requests.name = ""
    assert caught.value.by_all and not (tmp_path / "stopped" / "finished").exists()
    train(tmp_path / "stopped")
    assert (tmp_path / "stopped" / "finished").exists()
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert [line["loss"] for line in log(tmp_path / "whole") if "loss" in line] == [
        line["loss"] for line in log(tmp_path / "stopped") if "loss" in line
    ]


def started(processes: int, model, output, *flags: object) -> subprocess.Popen:
    """`run_sft.sh`, some steps on its way."""
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    environment |= {"MODEL": model, "OUTPUT": output, "NUM_PROCESSES": processes, "OMP_NUM_THREADS": 1}
    environment = {name: str(value) for name, value in environment.items()}
    for name in (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
    ):  # of the tests' own process
        environment.pop(name, None)
    script = subprocess.Popen(
        ["bash", "run_sft.sh", *map(str, flags)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        # Tests that run in the background of a shell are deaf to it, and what they start would be.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    file, deadline = output / "log.jsonl", time.monotonic() + 200
    while script.poll() is None and not (file.is_file() and file.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return script


@pytest.mark.dist
def test_a_signal_to_every_process_of_a_job_loses_nothing(tiny_llava, tmp_path):
    """As Slurm sends it: also to DeepSpeed's launchers, and to the workers that read the data."""
    settings = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1, "zero_stage": 2}
    settings |= {"max_steps": 20, "save_total_limit": 1, "max_seq_len": 256, "seed": 3, "learning_rate": 1e-4}
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    flags += ["--num_workers", 1, "--precision", "fp32", "--num_warmup_steps", 0, "--gradient_checkpointing"]

    script = started(2, tiny_llava, tmp_path / "stopped", *flags)
    job = [psutil.Process(script.pid), *psutil.Process(script.pid).children(recursive=True)]
    assert sum("train_sft" in " ".join(process.cmdline()) for process in job) >= 6
    for process in job:
        process.send_signal(signal.SIGTERM)
    assert script.wait(120) == 85
    assert not psutil.wait_procs(job, timeout=5)[1]
    told = (tmp_path / "stopped" / "training.log").read_text()
    assert told.count("\nstopped: SIGTERM asked for it; ") == 1 and "Traceback" not in told

    assert started(2, tiny_llava, tmp_path / "stopped", *flags).wait(200) == 0
    whole = command("sft", tiny_llava, tmp_path / "whole", *flags, data=SAMPLES / "sft.json")
    run(whole, processes=2)
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_signal_to_the_script_of_one_process_is_passed_on(tiny_llava, tmp_path):
    script = started(1, tiny_llava, tmp_path / "out", "--max_steps", 100_000, "--save_step", 100_000)
    below = psutil.Process(script.pid).children(recursive=True)
    script.send_signal(signal.SIGINT)
    try:
        assert script.wait(60) == 85
    finally:
        left = psutil.wait_procs(below, timeout=3)[1]
        for process in left:
            process.kill()
    assert not left
    assert list((tmp_path / "out").glob("checkpoint-*"))


HANGS = """
import time
from training.utils.process.stop import deferred, requests
requests.catch()
with deferred():
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_second_signal_ends_at_once_and_an_echo_of_the_first_does_not():
    hangs = subprocess.Popen([sys.executable, "-c", HANGS], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert hangs.stdout.readline() == "ready\n"
    for _ in range(3):
        hangs.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    time.sleep(2)
    assert hangs.poll() is None
    hangs.send_signal(signal.SIGTERM)
    assert hangs.wait(5) == 128 + signal.SIGTERM
