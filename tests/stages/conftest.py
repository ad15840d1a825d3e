"""Stages as a user starts them: a process of their own, on the samples of the repository."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import ROOT, SAMPLES

STAGES = {
    "sft": ("training.sft.train_sft", "sft.json"),
    "reward_model": ("training.reward_model.train_rm", "reward.json"),
    "dpo": ("training.dpo.train_dpo", "reward.json"),
    "ppo": ("training.ppo.train_ppo", "ppo.json"),
}


def command(stage: str, model: Path, output: Path, *flags: object, data: Path | None = None) -> list[str]:
    module, file = STAGES[stage]
    settings = {
        "from_checkpoint": model,
        "data_path": data or SAMPLES / file,
        "output_dir": output,
        "max_seq_len": 256,
        "per_device_train_batch_size": 4,
        "max_steps": 4,
        "learning_rate": 1e-3,
        "precision": "fp32",
    }
    if stage == "ppo":
        settings |= {
            "max_generation_length_of_sampling": 6,
            "num_generations": 2,
            "actor_learning_rate": 1e-3,
        }
    given = [str(flag) for flag in flags]
    defaults = [
        part
        for name, value in settings.items()
        if f"--{name}" not in given
        for part in (f"--{name}", str(value))
    ]
    return ["-m", module, *defaults, "--lang_decoder_update", *given]


def run(arguments: list[str], processes: int = 1, check: bool = True) -> subprocess.CompletedProcess:
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable]
    if processes > 1:
        port = str(20_000 + os.getpid() % 20_000)
        launcher += ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={port}"]
    done = subprocess.run(
        [*launcher, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done


def weights(output: Path, name: str | None = None) -> dict:
    """The weights of the newest model folder of a run, its head included."""
    folder = output / (name or (output / "latest").read_text().strip())
    tensors = load_file(folder / "model.safetensors")
    file = folder / "value_head.safetensors"
    head = load_file(file) if file.is_file() else {}
    return tensors | {f"head.{name.removeprefix('v_head.')}": tensor for name, tensor in head.items()}


def log(output: Path) -> list[dict]:
    """The figures of each optimizer step, without those of evaluations."""
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "epoch" in line]


@pytest.fixture(scope="session")
def reward_model(tiny_llava, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("rm") / "reward_model"
    run(command("reward_model", tiny_llava, output))
    return output
