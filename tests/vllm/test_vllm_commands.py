"""Commands that take vLLM, as a user starts them."""

import json
import os
import subprocess

from tests.conftest import ROOT, run_script
from tests.vllm.conftest import COMMAND_SETTINGS, PROMPTS, run_predict
from training.utils.files import jsonl


def test_predictions_are_those_of_our_own_engine(trained, answers, tmp_path):
    found = run_predict(trained, tmp_path, "vllm")
    equal = [one["response"] == other["response"] for one, other in zip(found, answers, strict=True)]
    print(f"greedy predictions equal to ours: {sum(equal)} of {len(equal)}")
    assert all(equal)


def test_best_of_n_takes_vllm(trained, taste, warm_with_vllm, tmp_path):
    given = {"SAMPLES": 4, "TEMPERATURE": 2, "REWARD_MODEL": taste, "PATH": warm_with_vllm}
    lines = run_predict(trained, tmp_path, "vllm", **given)
    for line in lines:
        assert len(set(line["responses"])) > 1 and len(line["scores"]) == 4
        assert line["response"] == line["responses"][line["scores"].index(max(line["scores"]))]
    assert (tmp_path / "predictions.best_of_n.json").is_file()


def test_drift_takes_vllm(trained, tiny_llava, warm_with_vllm, tmp_path):
    """Its answers; their log-probabilities are worked out by both models."""
    found = tmp_path / "drift.json"
    command = f"""-m eval.drift --from_checkpoint {trained} --reference {tiny_llava} --data_path {PROMPTS}
        --rollout_engine vllm --output_path {found} --num_return_sequences 16 --max_new_tokens 8
        --dataset_samples 8"""
    done = subprocess.run(
        [f"{warm_with_vllm.partition(':')[0]}/python", *command.split()],
        env=os.environ | COMMAND_SETTINGS,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kl = json.loads(found.read_text())["kl"]
    assert kl["mean"] > 3 * kl["standard_error"] > 0


def test_the_rounds_of_run_online_take_vllm(tiny_llava, warm_with_vllm, tmp_path):
    given = {
        "PATH": warm_with_vllm,
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
    done = run_script("run_online.sh", "--gradient_checkpointing", "false", **COMMAND_SETTINGS | given)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = jsonl.read(tmp_path / "round-1" / "answers.jsonl")
    assert len(lines) == 8 and all(len(line["responses"]) == 3 for line in lines)
    assert (tmp_path / "round-1" / "model" / "latest").is_file()


def test_a_run_that_goes_on_samples_what_it_would_have(tiny_llava, warm_with_vllm, tmp_path):
    """In fp32 on one process; docs/vllm.md says where it may differ."""

    def grpo(output, *flags):
        given = {"MODEL": tiny_llava, "DATA": PROMPTS, "OUTPUT": output, "PATH": warm_with_vllm}
        given |= {"ENGINE": "vllm", "ALGORITHM": "grpo"}
        given |= {"SAMPLES": 3, "REWARDS": "length", "BATCH": 4, "ACCUMULATION": 1, "MAX_RESPONSE_LEN": 8}
        given |= {"ACTOR_LR": 1e-3}
        more = "--precision fp32 --max_steps 4 --reward_length 1 3 --gradient_checkpointing false "
        more += "--dataset_samples 8 --save_step 2 --save_total_limit 0"
        done = run_script("run_ppo_training.sh", *more.split(), *flags, **COMMAND_SETTINGS | given)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        lines = jsonl.read(output / "rollouts.jsonl")
        return sorted((line["step"], line["id"], line["responses"]) for line in lines if line["step"] > 2)

    whole = grpo(tmp_path / "whole")
    assert len(whole) == 8
    assert grpo(tmp_path / "again", "--resume", str(tmp_path / "whole" / "checkpoint-2")) == whole
