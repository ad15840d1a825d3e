"""With `--max_tokens_per_batch` a step has the loss and the gradient that it has without, on 1, 2 and 4 processes."""

import json

import pytest

from tests.conftest import SAMPLES
from tests.stages.conftest import log, run
from tests.stages.runs import train
from training.utils.config.arguments import parse_args
from training.utils.config.stage_config import DPOConfig
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.process import dist

GLOBAL_BATCH, STEPS, MAX_TOKENS = 8, 2, 300
CASES = [(processes, "sft", zero_stage) for processes in (1, 2, 4) for zero_stage in (1, 2, 3)]
CASES += [(2, "reward_model", 2), (2, "dpo", 3)]
MORE = {"dpo": ["--loss_type", "sigmoid", "bco"]}  # bco's loss depends on what came before the step


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """24 records, the longer ones without a picture; one is longer than a micro-batch may be."""
    samples = json.loads((SAMPLES / "reward.json").read_text())
    records = []
    for number in range(24):
        record = samples[number % len(samples)] | {"id": str(number)}
        has_picture = number % 3 < 2
        words = "What do you see here, and where? " * (1 + number % 4 + 4 * (not has_picture))
        words += "More of it, please. " * (20 * (number == 5))
        question = {"from": "human", "value": "<image>\n" * has_picture + words}
        record["conversations"] = [question, record["conversations"][-1]]
        records.append(record if has_picture else record | {"image": None})
    file = tmp_path_factory.mktemp("tokens") / "records.json"
    file.write_text(json.dumps(records))
    return file


@pytest.fixture(scope="module")
def flags_of(tiny_llava, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")

    def flags(name, zero_stage, processes, max_tokens):
        return [
            *("--from_checkpoint", tiny_llava, "--data_path", data, "--image_folder", SAMPLES),
            *("--output_dir", folder / name, "--max_seq_len", 512, "--precision", "fp32", "--seed", 10),
            *("--max_steps", STEPS, "--eval_step", 1000, "--learning_rate", 1e-4),
            *("--data_train_split_ratio", 1, "--lang_decoder_update", "--zero_stage", zero_stage),
            *("--per_device_train_batch_size", GLOBAL_BATCH // processes),
            *("--max_tokens_per_batch", max_tokens),
        ], folder / name

    return flags


@pytest.fixture(scope="module")
def plain(flags_of):
    """Runs in one micro-batch of one process, by stage."""
    done = {}
    for stage in ("sft", "reward_model", "dpo"):
        flags, done[stage] = flags_of(f"{stage}-plain", 0, 1, 0)
        train(stage, flags + MORE.get(stage, []))
    return done


@pytest.fixture(scope="module")
def by_tokens(flags_of, tmp_path_factory):
    """Runs in micro-batches by tokens, by case."""
    done, runs = {}, {1: [], 2: [], 4: []}
    for processes, stage, zero_stage in CASES:
        case = processes, stage, zero_stage
        flags, done[case] = flags_of("-".join(map(str, case)), zero_stage, processes, MAX_TOKENS)
        runs[processes].append((stage, [str(flag) for flag in flags + MORE.get(stage, [])]))
    for one in runs.pop(1):
        train(*one)
    file = tmp_path_factory.mktemp("launch") / "runs.json"
    file.write_text(json.dumps(runs))
    run(["-m", "tests.stages.runs", str(file)])
    return done


def shares(flags, processes, monkeypatch):
    """For each step, the micro-batches of each process."""
    monkeypatch.setattr(dist, "world_size", lambda: processes)
    config = parse_args(DPOConfig, [str(flag) for flag in flags])
    monkeypatch.setattr(dist, "gather_objects", lambda value: [value])
    loaded = load_data(config, build_encoder(config, config.from_checkpoint), 2)
    cut = loaded.sampler.by_tokens
    steps = [loaded.sampler.step_records(step) for step in range(STEPS)]
    return cut, [cut.shared_out(records, processes) for records in steps]


def test_the_cases_are_those_that_are_hard(flags_of, monkeypatch, capsys):
    """Steps of different numbers of micro-batches, a process without pictures, a record that is too long."""
    numbers, without_pictures = set(), False
    for processes in (2, 4):
        flags, _ = flags_of("unused", 1, processes, MAX_TOKENS)
        cut, steps = shares(flags, processes, monkeypatch)
        numbers |= {(processes, len(step[0])) for step in steps}
        without_pictures |= any(
            not cut.pictured[[number for batch in share for number in batch]].any()
            for step in steps
            for share in step
        )
    assert "1 records are longer than --max_tokens_per_batch 300, up to" in capsys.readouterr().out
    assert len({number for processes, number in numbers if processes == 2}) > 1
    assert without_pictures


@pytest.mark.dist
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_loss_and_gradient_of_a_step_do_not_depend_on_how_it_is_cut(case, plain, by_tokens):
    expected, found = log(plain[case[1]]), log(by_tokens[case])
    assert len(expected) == len(found) == STEPS
    for one, other in zip(expected, found, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
        assert other["padding"] < one["padding"]
