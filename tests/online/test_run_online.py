"""run_online.sh as a user starts it: what is wrong is told first, and it goes on wherever it was killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import ROOT, SAMPLES, load_records
from training.utils.files import jsonl

COUNTER = """#!/usr/bin/env bash
# Of the commands of a script only the first ${COMMANDS:-999} begin: the next one is killed, and its script with it.
count=$(( $(cat "$COUNTED" 2>/dev/null || echo 0) + 1 ))
echo $count > "$COUNTED"
(( count <= ${COMMANDS:-999} )) || { kill -9 $PPID; exit 137; }
exec WARM "$@"
"""
SETTINGS = {
    "DATA": SAMPLES / "ppo.json",
    "ROUNDS": 2,
    "SAMPLES": 3,
    "MAX_RESPONSE_LEN": 6,
    "MAX_SEQ_LEN": 256,
    "SAMPLE_FLAGS": "--keep_cut --dataset_samples 12",
    "REWARD_FLAGS": "--reward_functions scripts.planted.rewards:long",
    "BATCH": 4,
    "ACCUMULATION": 1,
    "LR": 1e-3,
    "ZERO_STAGE": 0,
    "OMP_NUM_THREADS": 1,
    "NUM_PROCESSES": 1,
}


@pytest.fixture(scope="module")
def online(tiny_llava, warm_path, tmp_path_factory):
    """Runs the script, and tells how many commands it has begun."""
    folder = tmp_path_factory.mktemp("counted")
    python = folder / "python"
    python.write_text(COUNTER.replace("WARM", f"{warm_path.split(':')[0]}/python"))
    python.chmod(0o755)

    def run(output: Path, *flags: str, **more) -> tuple[subprocess.CompletedProcess, int]:
        counted = folder / "count"
        counted.unlink(missing_ok=True)
        environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": f"{folder}:{warm_path}"}
        given = SETTINGS | {"MODEL": tiny_llava, "OUTPUT": output, "COUNTED": counted} | more
        done = subprocess.run(
            ["bash", "run_online.sh", "--gradient_checkpointing", "false", *flags],
            cwd=ROOT,
            env=environment | {name: str(value) for name, value in given.items()},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, int(counted.read_text()) if counted.exists() else 0

    return run


def trained(output: Path, number: int) -> dict:
    folder = output / f"round-{number}" / "model"
    return load_file(folder / (folder / "latest").read_text().strip() / "model.safetensors")


def test_a_script_that_is_killed_between_any_phases_goes_on_to_the_same_models(online, tmp_path):
    more = {"REFERENCE": "start", "EVAL": SAMPLES / "predict.json"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done, all_commands = online(whole, **more)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (
        all_commands == 2 + 2 * 6
    )  # settings, the start's measures; sample, score, pair, train, measure, curve

    for commands in (5, 9):  # killed before training, and before scoring in the second round
        done, begun = online(killed, COMMANDS=commands, **more)
        assert done.returncode != 0 and begun == commands + 1
    done, _ = online(killed, **more)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("finished before; nothing to do") == 1  # the first round's training
    assert done.stdout.count("measured before; nothing to do") == 2
    assert "6 prompts, 6 answered before" in done.stdout and "of 6 scored before" in done.stdout
    for number in (1, 2):
        one, two = (trained(folder, number) for folder in (whole, killed))
        assert all((one[name] == two[name]).all() for name in one)
        one, two = (jsonl.read(folder / f"round-{number}" / "train.jsonl") for folder in (whole, killed))
        assert one == two

    records = load_records(whole / "round-2" / "train.jsonl", min_responses=2)
    assert len(records) > 0 and all(record.scores[0] > record.scores[-1] for record in records)
    answers = [jsonl.read(whole / f"round-{number}" / "answers.jsonl") for number in (1, 2)]
    first, second = ({line["id"] for line in lines} for lines in answers)
    assert not first & second and len(first | second) == 12
    arguments = json.loads((whole / "round-2" / "model" / "args.json").read_text())["arguments"]
    assert arguments["reference"] and arguments["reference"] != arguments["from_checkpoint"]
    rows = json.loads((whole / "rounds.json").read_text())
    assert len(rows) == 3 and rows[0]["kl"] == pytest.approx(0, abs=1e-4) and rows[2]["kl"] > 0.01
    assert all({"reward", "words"} <= row.keys() for row in rows)


def test_imitating_the_best_answer_starts_each_round_from_the_model_before(online, tmp_path):
    done, _ = online(tmp_path, TRAIN="sft", EPOCHS=1)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = jsonl.read(tmp_path / "round-1" / "train.jsonl")
    assert all(isinstance(row["conversations"][-1]["value"], str) for row in rows)
    arguments = json.loads((tmp_path / "round-2" / "model" / "args.json").read_text())["arguments"]
    assert arguments["from_checkpoint"] == str(tmp_path / "round-1" / "model")


def test_all_ranked_answers_are_learned_from_and_rewards_have_their_names(tmp_path):
    """What trains takes the best two of a record, unless it is told otherwise."""
    python = tmp_path / "python"
    python.write_text(f'#!/usr/bin/env bash\necho "$@" >> {tmp_path}/commands\n')
    python.chmod(0o755)
    given = {"MODEL": "m", "OUTPUT": tmp_path / "out", "ROUNDS": 1, "NUM_PROCESSES": 1, "PICK": "ranked"}
    given |= {"REWARDS": "models/rm:2 length:0.1", "MAX_SEQ_LEN": 100, "MAX_RESPONSE_LEN": 20}
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(
        ["bash", "run_online.sh"],
        cwd=ROOT,
        env=environment | {name: str(value) for name, value in given.items()},
        check=True,
        capture_output=True,
    )
    begun = (tmp_path / "commands").read_text().splitlines()
    (scoring,) = (line for line in begun if "training.online.score" in line)
    (training,) = (line for line in begun if "training.dpo.train_dpo" in line)
    assert "--rewards models/rm:2 length:0.1 " in scoring
    assert "--answer_room 40 " in scoring and "--max_seq_len 100 " in scoring  # prompts alone may be as long
    assert "--ranked_candidate_num 0 " in training and "--online" not in training


@pytest.mark.parametrize(
    ("wrong", "flags", "message"),
    [
        ({}, ["--bta", "0.2"], "--bta"),
        ({}, ["--loss_type", "sigmoid", "--beta"], "--beta"),
        ({"SAMPLES": 1}, [], "--samples 1: --pick best_worst ranks answers; expected 2 or more"),
        ({"TRAIN": "sft", "PICK": "pairs"}, [], "--pick pairs: does not go with --stage sft"),
        ({"TRAIN": "ppo"}, [], "--stage ppo: unknown"),
        ({"REWARD_MODEL": "none", "REWARD_FLAGS": ""}, [], "--reward_model_ckpt_path: missing"),
        ({"REWARD_FLAGS": "--rewards exact"}, [], "has no label to check answers against"),
        ({}, ["--online"], "--online True: expected without a value"),
        ({"REWARD_FLAGS": ""}, [], "--reward_model_ckpt_path: missing"),
        (
            {"REWARD_MODEL": "a/rm", "REWARDS": "length", "REWARD_FLAGS": ""},
            [],
            "--rewards: not with --reward_model_ckpt_path",
        ),
        ({"REWARD_MODEL": "nowhere"}, [], "nowhere"),
        ({"MODEL": "nowhere"}, [], "nowhere"),
        ({"ROUNDS": 0}, [], "--rounds 0"),
        ({"PAIR_FLAGS": "--margn 1"}, [], "--margn"),
        ({"SAMPLE_FLAGS": "--topq 1"}, [], "--topq"),
        ({"REFERENCE": "fixed"}, [], "--reference fixed: unknown"),
        ({"BENCH": "pope", "TRUTH": "x"}, [], "--bench_flags --bench pope --truth x: nothing is measured"),
        ({"DATA": "none.json"}, [], "none.json: no such file"),
    ],
)
def test_what_is_wrong_is_one_message_before_anything_is_sampled(online, tmp_path, wrong, flags, message):
    done, begun = online(tmp_path / "out", *flags, **wrong)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() + done.stdout.splitlines() if "error: " in line]
    assert len(told) == 1 and message in told[0], done.stderr
    assert begun <= (2 if "DATA" in wrong else 1)
    assert not list((tmp_path / "out").glob("round-1/answers.jsonl"))
