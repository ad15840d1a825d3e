"""Runs with planted faults are named, good ones are left in peace (scripts/plant_faults.py made them all)."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eval.doctor import symptoms
from eval.doctor.__main__ import DoctorConfig, main
from eval.doctor.change import change, noise
from eval.doctor.examine import examine
from eval.doctor.run import Series, read_run
from eval.doctor.symptoms import SYMPTOMS
from eval.doctor.symptoms.policy import weight_of
from scripts.plant_faults import PlantConfig
from scripts.planted.plans import faulty, good
from tests.conftest import picture
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig
from training.utils.data.record import DataError

RUNS = Path(__file__).parent / "doctor_runs"
FAULTS = {plan.name: plan.fault for plan in faulty(0)}


def recorded(kind: str) -> dict[str, dict]:
    lines = map(json.loads, (RUNS / f"{kind}.jsonl").read_text().splitlines())
    return {line.pop("name"): line for line in lines}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """The folders of all runs, beside a picture as they were made."""
    root = tmp_path_factory.mktemp("runs")
    (root / "images").mkdir()
    picture().save(root / "images" / "0.png")
    folders = {}
    for name, files in (recorded("good") | recorded("faulty")).items():
        folder = folders[name] = root / "runs" / name
        folder.mkdir(parents=True)
        files["args.json"]["arguments"]["data_path"] = str(root / "records.json")
        for file, content in files.items():
            lines = content if isinstance(content, list) else [content]
            (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folders


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name, runs):
    assert FAULTS[name] in [finding.name for finding in examine(read_run(runs[name])).findings]


def test_no_alarm_on_good_runs(runs):
    alarms = {plan.name: examine(read_run(runs[plan.name])).findings for plan in good(0)}
    assert len(alarms) == 20
    assert {name: found for name, found in alarms.items() if found} == {}


def test_each_stage_and_estimator_is_among_the_good_runs(runs):
    seen = [read_run(runs[plan.name]) for plan in good(0)]
    assert {run.stage for run in seen} == {"sft", "reward_model", "dpo", "ppo"}
    estimators = {run.arguments.get("advantage_estimator") for run in seen} - {None}
    assert estimators == {"gae", "grpo", "rloo", "reinforce_plus_plus"}


def test_findings_come_the_worst_first_with_evidence_and_cure_and_status_1(runs, capsys):
    assert main(DoctorConfig(str(runs["lost_eos"]))) == 1
    told = capsys.readouterr().out
    findings = [line for line in told.splitlines() if line.startswith(("FAULT", "WRONG", "LOOK"))]
    assert [line.split(":")[0] for line in findings][:2] == ["FAULT lost_eos", "WRONG kl_runaway"]
    assert findings == sorted(findings, key=lambda line: ("FAULT", "WRONG", "LOOK").index(line.split()[0]))
    assert told.count("    cure: ") == len(findings)
    assert "--max_generation_length_of_sampling 14" in told and "step 24, shape-" in told


def test_nothing_found_says_what_was_looked_for_and_what_could_not_be_judged(runs, capsys):
    assert main(DoctorConfig(str(runs["ppo-0"]))) == 0
    told = capsys.readouterr().out
    assert told.startswith("Nothing was found.\n")
    assert "ppo, 24 steps" in told and "looked for bad_steps, blind_data" in told
    assert "Not judged:\n" in told and "answer_not_learned: there is one reward" in told


def test_a_young_run_is_not_judged(runs, tmp_path):
    """Three steps are no course, whatever they look like."""
    young = tmp_path / "young"
    young.mkdir()
    for name in ("args.json", "log.jsonl"):
        lines = (runs["learning_rate_high"] / name).read_text().splitlines(keepends=True)
        (young / name).write_text("".join(lines[:3]))
    diagnosis = examine(read_run(young))
    assert not diagnosis.findings
    assert {"learning_rate_high", "learning_rate_low", "frozen"} <= diagnosis.not_judged.keys()


def test_a_run_that_ended_at_its_first_bad_step_is_named_by_what_it_printed(runs, tmp_path):
    ended = tmp_path / "ended"
    ended.mkdir()
    for name in ("args.json", "log.jsonl"):
        (ended / name).write_text((runs["sft-0"] / name).read_text())
    (ended / "training.log").write_text(
        "error: the loss of optimizer step 41 is nan; its records: shape-003; the weights have not moved\n"
    )
    (found,) = examine(read_run(ended)).findings
    assert found.name == "bad_steps" and "shape-003" in found.evidence[0]


def test_a_folder_that_is_no_run_is_an_error(tmp_path):
    with pytest.raises(DataError, match="has no args.json"):
        read_run(tmp_path)


def test_each_symptom_is_found_in_some_planted_run(runs):
    names = [symptom.name for symptom in SYMPTOMS]
    found = {finding.name for name in FAULTS for finding in examine(read_run(runs[name])).findings}
    assert len(names) == len(set(names))
    assert {"length" if name.startswith("length_") else name for name in found} == set(names)


# -- how far a figure has come ---------------------------------------------------------------------


def series(values) -> Series:
    return Series("loss", np.arange(1, len(values) + 1), np.array(values, dtype=float))


def test_noise_is_that_of_neighbours_and_not_of_the_drift():
    rng = np.random.default_rng(0)
    scatter = rng.normal(0, 0.5, 4000)
    assert noise(scatter) == pytest.approx(0.5, rel=0.05)
    assert noise(scatter + np.linspace(0, 40, 4000)) == pytest.approx(0.5, rel=0.05)
    scatter[::50] += 100  # spikes
    assert noise(scatter) == pytest.approx(0.5, rel=0.1)


def test_what_stands_still_is_seldom_four_standard_errors_from_where_it_was():
    rng = np.random.default_rng(0)
    far = [abs(change(series(rng.normal(0, 1, 40))).z) > 4 for _ in range(2000)]
    assert np.mean(far) < 0.005


def test_ends_are_medians_of_a_fifth_each():
    moved = change(series([9, 1, 1, 1, 5, 5, 5, 5, 5, 5, 5, 5, 2, 2, 7]))
    assert (moved.start, moved.end, moved.steps) == (1, 2, (3, 13))
    assert change(series([1.0] * 20)).z == 0


def test_scores_of_the_log_weigh_what_they_weigh_in_the_run():
    """Of an ensemble its members are only shown, and so is how much they disagree."""
    given = {"reward_model_ckpt_path": ["a", "b"], "reward_functions": ["exact"]}
    given |= {"reward_endpoints": [], "reward_weights": [2.0, 2.0, 0.5]}

    def weights(names, **more):
        run = SimpleNamespace(arguments=given | more)
        return [weight_of(run, f"reward {name}") for name in names]

    assert weights(["a", "b", "exact"]) == [2.0, 2.0, 0.5]
    names = ["ensemble", "ensemble_std", "a", "b", "a helpful", "exact"]
    assert weights(names, reward_ensemble="min") == [2.0, 0.0, 0.0, 0.0, 0.0, 0.5]
    assert weights(["a helpful", "a truthful"]) == [2.0, 2.0]
    assert weights(["a helpful", "a truthful"], aspect_weights=["helpful:3"]) == [6.0, 0.0]


def test_cures_name_flags_that_there_are():
    configs = (SFTConfig, RewardConfig, DPOConfig, PPOConfig, RewardScoreConfig)
    flags = {field.name for config in configs for field in dataclasses.fields(config)}
    sources = Path(symptoms.__file__).parent.glob("*.py")
    named = {flag for file in sources for flag in re.findall(r"--([a-z]\w+)", file.read_text())}
    assert len(named) > 15 and named <= flags, named - flags


def test_a_run_that_nobody_planned_is_refused():
    with pytest.raises(ConfigError, match="--only typo: unknown; expected sft-0, sft-1"):
        PlantConfig(only=["sft-1", "typo"])
