"""Each stage, started as a user starts it: it learns, moves what it should, saves what others can load, resumes."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.conftest import ROOT, SAMPLES
from tests.stages.conftest import STAGES, command, log, run, weights


def flags(stage, reward_model):
    return ["--reward_model_ckpt_path", reward_model] if stage == "ppo" else []


@pytest.fixture(scope="session", params=STAGES)
def finished(request, tiny_llava, reward_model, tmp_path_factory):
    """(stage, output folder, flags) of a finished run of 4 steps that saved a checkpoint at step 2."""
    output = tmp_path_factory.mktemp(request.param) / "whole"
    more = [*flags(request.param, reward_model), "--save_step", 2]
    run(command(request.param, tiny_llava, output, *more))
    return request.param, output, more


def test_exactly_the_right_parameters_move(finished, tiny_llava):
    _, output, _ = finished
    before, after = weights(tiny_llava, "."), weights(output)
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    frozen = {name for name in before if "vision_tower" in name}
    if finished[0] == "reward_model":
        frozen |= {"language_model.lm_head.weight", "lm_head.weight"} & before.keys()
    assert moved == before.keys() - frozen
    assert (finished[0] == "reward_model") == ("head.weight" in after)


def test_the_output_loads_in_plain_transformers_and_tells_the_next_stage_its_template(finished):
    _, output, _ = finished
    folder = output / (output / "latest").read_text().strip()
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    saved = weights(output)
    for name, tensor in model.state_dict().items():
        key = name if name in saved else name.removeprefix("model.")
        if key in saved:
            assert torch.equal(tensor, saved[key])
    assert processor.image_token == "<image>"
    assert (folder / "alignment.json").is_file()
    (start,) = json.loads((output / "args.json").read_text())["starts"]
    assert 28 <= start["records_with_pictures"] <= 32  # what is not held out
    assert start["checkpoint_template"] is None  # no stage has trained the tiny model
    assert (output / "curves.png").stat().st_size > 1000


def test_a_run_that_is_killed_while_it_saves_and_resumed_ends_with_the_same_weights(
    finished, tiny_llava, tmp_path
):
    stage, whole, more = finished
    output = tmp_path / "killed"
    arguments = command(stage, tiny_llava, output, *more[:-1], 1, "--resume", "auto")  # saves every step
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    half_written = output / ".checkpoint-3.partial"
    deadline = time.monotonic() + 120
    while not half_written.is_dir() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert half_written.is_dir() and (output / "latest").read_text() == "checkpoint-2\n"
    run(arguments)
    expected, resumed = weights(whole), weights(output)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert [line["step"] for line in log(output) if "lr" in line] == [1, 2, 3, 4]
    assert not half_written.exists()
    assert "finished before" in run(arguments).stdout


@pytest.mark.parametrize("stage", ["sft", "reward_model", "dpo"])
def test_a_stage_fits_a_handful_of_samples(stage, tiny_llava, tmp_path):
    output = tmp_path / "out"
    run(
        command(
            stage,
            tiny_llava,
            output,
            "--dataset_samples",
            4,
            "--data_train_split_ratio",
            1,
            "--max_steps",
            40,
            "--learning_rate",
            5e-3,
        )
    )
    losses = [line["loss"] for line in log(output)]
    assert losses[-1] < 0.25 * losses[0]


def test_another_run_is_not_written_over(finished, tiny_llava):
    stage, output, more = finished
    done = run(command(stage, tiny_llava, output, *more), check=False)
    assert done.returncode == 2
    assert "holds another run; choose another folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_prediction_is_complete_in_order_and_goes_on_where_it_stopped(tiny_llava, reward_model, tmp_path):
    output = tmp_path / "predictions.jsonl"
    settings = [
        "--from_checkpoint",
        tiny_llava,
        "--data_path",
        SAMPLES / "predict.json",
        "--output_path",
        output,
    ]
    settings += ["--max_new_tokens", 6, "--max_seq_len", 256, "--batch_size", 5]
    arguments = ["-m", "eval.predict", *map(str, settings)]
    run(arguments)
    whole = output.read_text()
    lines = whole.splitlines()
    assert len(lines) == 32 and '"id": "shape-00"' in lines[0] and '"id": "shape-31"' in lines[-1]
    output.write_text("".join(line + "\n" for line in lines[:7]))  # as if the rest had not been done
    run(arguments)
    assert output.read_text() == whole
    output.unlink()
    run(arguments, processes=2)
    assert output.read_text() == whole


def test_best_of_n_is_the_sample_with_the_highest_score(tiny_llava, reward_model, tmp_path):
    output = tmp_path / "best.jsonl"
    settings = [
        "--from_checkpoint",
        tiny_llava,
        "--data_path",
        SAMPLES / "predict.json",
        "--output_path",
        output,
    ]
    settings += ["--reward_model_ckpt_path", reward_model, "--num_return_sequences", 4, "--temperature", 1]
    run(["-m", "eval.predict", *map(str, [*settings, "--max_new_tokens", 6, "--max_seq_len", 256])])
    for text in output.read_text().splitlines():
        line = json.loads(text)
        assert line["response"] == line["responses"][line["scores"].index(max(line["scores"]))]
        assert len(line["responses"]) == 4


def test_a_loss_that_is_not_finite_stops_the_run_with_step_and_records(tiny_llava, tmp_path):
    output = tmp_path / "out"
    flags = ["--learning_rate", 1e30, "--max_grad_norm", 0, "--save_step", 1]
    done = run(command("sft", tiny_llava, output, *flags), check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "error: the loss of optimizer step 2 is nan; its records: shape-" in done.stderr
    assert (output / "checkpoint-1").is_dir() and not (output / "checkpoint-2").exists()
