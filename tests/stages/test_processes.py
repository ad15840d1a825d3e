"""Two processes do what one does, at every ZeRO stage, also where one of them sees no picture."""

import json
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.conftest import SAMPLES, run_script
from tests.stages.conftest import STAGES, command, log, run, weights
from tests.tiny_families import build_tiny
from training.utils.data.sampler import StepSampler

SEED, STEPS = 7, 3


@pytest.fixture(scope="module")
def mixed_data(tmp_path_factory):
    """For each stage a file of 12 records; those that the second process gets hold no picture."""
    second = {
        number
        for step in range(STEPS)
        for number in StepSampler(12, per_device=4, accumulation=1, num_steps=STEPS, seed=SEED).step_records(
            step
        )[2:]
    }
    folder = tmp_path_factory.mktemp("mixed")
    files = {}
    for stage, (_, name) in STAGES.items():
        records = json.loads((SAMPLES / name).read_text())[:12]
        for number, record in enumerate(records):
            if number in second:
                record["image"] = None
                record["conversations"][0]["value"] = f"What is picture {number}?"
        files[stage] = folder / name
        files[stage].write_text(json.dumps(records))
    return files


def flags(stage, zero_stage, batch, reward_model):
    shared = ["--seed", SEED, "--max_steps", STEPS, "--learning_rate", 1e-4, "--data_train_split_ratio", 1]
    shared += ["--per_device_train_batch_size", batch, "--image_folder", SAMPLES, "--eval_step", 1000]
    return [*shared, "--zero_stage", zero_stage]


@pytest.fixture(scope="module")
def alone(tiny_llava, mixed_data, tmp_path_factory):
    """A run with one process and ZeRO-0, by stage."""

    @cache
    def output(stage: str) -> Path:
        done = tmp_path_factory.mktemp("alone") / stage
        run(command(stage, tiny_llava, done, *flags(stage, 0, 4, None), data=mixed_data[stage]))
        return done

    return output


@pytest.mark.dist
@pytest.mark.parametrize("zero_stage", [2, 3])
@pytest.mark.parametrize("stage", ["sft", "reward_model", "dpo"])
def test_two_processes_equal_one(stage, zero_stage, tiny_llava, mixed_data, alone, tmp_path):
    output = tmp_path / "two"
    run(
        command(stage, tiny_llava, output, *flags(stage, zero_stage, 2, None), data=mixed_data[stage]),
        processes=2,
    )
    for one, two in zip(log(alone(stage)), log(output), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(two["grad_norm"], rel=1e-4)
    expected, found = weights(alone(stage)), weights(output)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=0, msg=name)


@pytest.mark.dist
@pytest.mark.parametrize("zero_stage", [2, 3])
def test_ppo_runs_on_two_processes_that_agree(zero_stage, tiny_llava, reward_model, mixed_data, tmp_path):
    output = tmp_path / "two"
    more = ["--reward_model_ckpt_path", reward_model, "--actor_zero_stage", zero_stage]
    more += ["--critic_zero_stage", zero_stage, "--per_device_train_batch_size", 2, "--ppo_epochs", 2]
    more += ["--image_folder", SAMPLES, "--data_train_split_ratio", 1, "--seed", SEED]
    run(command("ppo", tiny_llava, output, *more, "--max_steps", 2, data=mixed_data["ppo"]), processes=2)
    assert [line["step"] for line in log(output)] == [1, 2]
    assert all(torch.isfinite(tensor).all() for tensor in weights(output).values())


@pytest.mark.dist
@pytest.mark.parametrize("family", ["llava_next", "llama-3.2-vision", "qwen2_5_vl"])
def test_two_processes_equal_one_in_other_families(family, mixed_data, tmp_path):
    model = build_tiny(family, tmp_path / "model")
    done = {}
    for name, zero_stage, batch, processes in (("one", 0, 4, 1), ("two", 3, 2, 2)):
        done[name] = tmp_path / name
        arguments = command(
            "sft", model, done[name], *flags("sft", zero_stage, batch, None), data=mixed_data["sft"]
        )
        run(arguments, processes=processes)
    for one, two in zip(log(done["one"]), log(done["two"]), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(two["grad_norm"], rel=1e-4)


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What faults of one of three processes led to, from tests/stages/faults.py."""
    output = tmp_path_factory.mktemp("faults") / "results.json"
    run(["-m", "tests.stages.faults", "torchrun", str(output)])
    return json.loads(output.read_text())


@pytest.mark.dist
@pytest.mark.parametrize(
    ("fault", "statuses", "message"),
    [
        ("none", [0, 0, 0], ""),
        ("busy", [0, 0, 0], ""),  # for longer than a silence may last
        ("finished before", [0, 0, 0], ""),
        ("bad record", [2, 2, 2], "error on process 1 of 3: a.json[7]: no picture\n"),
        (
            "bad picture",
            [2, 2, 2],
            "error on process 2 of 3: image 'a.png' is an empty file; replace it\n",
        ),
        ("bad data for all", [2, 2, 2], "error: a.json: no such file\n"),
        ("memory", [1, 1, 1], "error on process 1 of 3: out of memory; lower the batch size or"),
        (
            "memory, in a save too",
            [1, 1, 1],
            "error on process 1 of 3: out of memory; lower the batch size or",
        ),
        (
            "gpu memory",
            [1, 1, 1],
            "error on process 1 of 3: out of GPU memory (CUDA out of memory. Tried to ",
        ),
        ("disk", [1, 1, 1], "error on process 1 of 3: /models/x: the disk is full; make room, and start"),
        ("killed", [-9, 1, 1], "error: process 1 of 3 ended without a word: it was killed, perhaps because"),
        ("main process killed", [-9, 1, 1], "error: process 0 of 3 ended without a word: it was killed, "),
        ("stopped", [1, 1], "error: process 1 of 3 has given no sign of life for 4 s: it or its machine "),
        ("main process stopped", [1, 1], "error: process 0 of 3 has given no sign of life for 4 s: it or"),
        ("signal to one process", [85, 85, 85], "stopped: SIGUSR1 after step 3\n"),
        ("signal before the loop", [85, 85, 85], "stopped on process 2 of 3: SIGTERM came before there was "),
        ("launcher killed", [], "error: the launcher of this run was killed\n"),
        ("folder of its own", [2, 2, 2], "error: /"),  # an output folder that one node does not share
    ],
)
def test_one_process_fails_and_all_end_with_its_message_alone(fault, statuses, message, faults):
    found = faults[fault]
    assert found["statuses"] == statuses and found["seconds"] < 60
    assert found["stderr"].startswith(message) and found["stderr"].count("\n") == bool(message)


@pytest.mark.dist
@pytest.mark.parametrize(("fault", "rank"), [("bug", 2), ("bug on the main process", 0)])
def test_what_nobody_expected_is_told_with_one_traceback(fault, rank, faults):
    found = faults[fault]
    assert found["statuses"] == [1, 1, 1] and found["seconds"] < 60
    assert found["stderr"].count("Traceback") == found["stderr"].count("error on process") == 1
    assert found["stderr"].endswith(f"error on process {rank} of 3: KeyError: 'surprise'\n")


@pytest.mark.dist
def test_a_process_that_hangs_is_named_with_where_it_is_and_not_those_that_wait_for_it(faults):
    found = faults["hangs"]
    assert found["statuses"] == [1, 1, 1] and found["seconds"] < 60
    assert 'faults.py", line ' in found["stderr"] and ", in hangs\n" in found["stderr"]
    assert found["stderr"].count("error") == 1
    assert "\nerror on process 1 of 3: no step was made for 0.0333333 minutes" in found["stderr"]


@pytest.mark.dist
def test_an_output_folder_that_a_node_does_not_share_is_named_with_the_node(faults):
    node = socket.gethostname()
    assert re.fullmatch(
        rf"error: \S+/out: process 2 on node {node} can't see there what process 0 on node {node} has written; "
        "expected one folder for all nodes: .*\n",
        faults["folder of its own"]["stderr"],
    )


@pytest.mark.dist
def test_a_script_that_is_started_on_each_of_two_nodes_does_what_one_process_does(
    tiny_llava, mixed_data, alone, tmp_path
):
    """Both nodes are this machine."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 slots=1\nother slots=1\n")
    _, _, *given = command(
        "sft", tiny_llava, tmp_path / "two", *flags("sft", 2, 2, None), data=mixed_data["sft"]
    )
    settings = {
        "OUTPUT": tmp_path / "two",
        "HOSTFILE": hosts,
        "MASTER_PORT": 20_000 + os.getpid() % 20_000,
        "MODEL": tiny_llava,
        "BATCH": 2,
        "ACCUMULATION": 1,
        "WARMUP": 0,
    }
    with ThreadPoolExecutor() as nodes:
        starts = [
            nodes.submit(run_script, "run_sft.sh", *given, **settings, NODE_RANK=node) for node in range(2)
        ]
        first, second = (start.result(timeout=300) for start in starts)
    assert first.returncode == second.returncode == 0, first.stdout[-2000:] + first.stderr[-2000:]
    assert "x 2 process(es) = 4" in first.stdout
    for one, two in zip(log(alone("sft")), log(tmp_path / "two"), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
