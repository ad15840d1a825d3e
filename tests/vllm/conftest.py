"""vLLM is installed apart (scripts/test_vllm.sh); without it these tests are passed over.

The models that commands and servers take are trained here, once.
"""

import json
import os
import sys
from importlib.util import find_spec
from itertools import permutations

import pytest

from tests.conftest import SAMPLES, run_script
from tests.stages.test_variants import settings
from tests.warm_python import warm_python
from training.dpo.train_dpo import main as train_dpo
from training.sft.train_sft import main as train_sft
from training.utils.config.stage_config import DPOConfig, SFTConfig
from training.utils.files import jsonl

collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]

COMMAND_SETTINGS = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
PROMPTS = SAMPLES / "ppo.json"
# What the model below learns to reply to as a judge.
RATE = "$question\nAnswer: $answer\nRate it."
COMPARE = "$question\nA: $answer_a\nB: $answer_b\nWhich?"


def run_predict(model, output, engine, **more):
    given = {"MODEL": model, "DATA": PROMPTS, "OUTPUT": output, "ENGINE": engine, "MAX_RESPONSE_LEN": 24}
    done = run_script("run_predict.sh", "--dataset_samples", "8", **COMMAND_SETTINGS | given | more)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return jsonl.read(output / "predictions.jsonl")


@pytest.fixture(scope="session")
def warm_with_vllm(tmp_path_factory):
    """A PATH on which commands have imported vLLM when they start (tests/warm_python.py)."""
    with warm_python(tmp_path_factory.mktemp("python"), "tests.vllm.imported") as folder:
        yield f"{folder}:{sys.prefix}/bin:{os.environ['PATH']}"


def lessons() -> list[dict]:
    """The samples for SFT; and judgements: of the k-th picture the rating k modulo 11, and the verdict k modulo 3."""

    def row(name, asked, reply):
        turns = [{"from": "human", "value": f"<image>\n{asked}"}, {"from": "gpt", "value": reply}]
        return {"id": f"{name}-{number}", "image": record["image"], "conversations": turns}

    rows = json.loads((SAMPLES / "sft.json").read_text())
    texts = ("A red square.", "It is a b")
    for number, record in enumerate(json.loads(PROMPTS.read_text())):
        question = record["conversations"][0]["value"].removeprefix("<image>\n")
        for text in texts:
            asked = RATE.replace("$question", question).replace("$answer", text)
            rows.append(row(f"rate {text}", asked, f"[[{number % 11}]]"))
        for one, other in permutations(texts):
            asked = COMPARE.replace("$question", question).replace("$answer_a", one)
            asked = asked.replace("$answer_b", other)
            rows.append(row(f"compare {one} {other}", asked, f"[[{'ABC'[number % 3]}]]"))
    return rows


@pytest.fixture(scope="session")
def trained(tiny_llava, tmp_path_factory):
    """The output folder of a stage: a model that SFT and DPO trained. It answers, and as a judge it rates answers by
    what it sees, mostly of the picture."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "lessons.json").write_text(json.dumps(lessons()))
    shared = {"precision": "fp32", "image_folder": str(SAMPLES)}
    more = {"learning_rate": 5e-3, "per_device_train_batch_size": 16, "num_train_epochs": 20}
    more |= {"dataset_samples": "all"}
    train_sft(SFTConfig(**settings(tiny_llava, folder / "lessons.json", folder / "sft", **shared | more)))
    more = {"learning_rate": 1e-4, "max_steps": 3}
    train_dpo(DPOConfig(**settings(folder / "sft", "reward.json", folder / "dpo", **shared | more)))
    return folder / "dpo"


@pytest.fixture(scope="session")
def answers(trained, tmp_path_factory):
    """What our own engine answers, greedily."""
    return run_predict(trained, tmp_path_factory.mktemp("own"), "own")
