"""The table over seeds gives mean and spread, worked by hand."""

import json

from demo.table import DESCRIPTIONS, figures_table, runs_table


def spec(folder, name, sft_hal, dpo_hal, accuracy):
    runs = []
    for run, hal in (("SFT", sft_hal), ("DPO", dpo_hal)):
        file = folder / f"{name}-{run}.json"
        metrics = {"Hal": hal, "CHAIR_i": 10.0, "Cover": 98.0, "words": 6.0}
        file.write_text(json.dumps({"metrics": metrics}))
        runs.append({"name": run, "scores": {"greedy": str(file)}})
    return {"runs": runs, "figures": [{"name": "POPE", "value": accuracy}]}


def test_mean_and_sample_deviation_over_seeds(tmp_path):
    """Rates 40 and 20: mean 30, deviation 20 / sqrt(2) = 14.1. Cuts 90 and 70 %: 80 ± 14.1."""
    specs = [spec(tmp_path, "a", 40.0, 4.0, "90.0 / 50.0"), spec(tmp_path, "b", 20.0, 6.0, "92.0 / 50.0")]
    lines = runs_table(specs, DESCRIPTIONS)
    assert lines[2] == "| SFT | greedy | 30.0 ± 14.1 |  | 10.0 ± 0.0 | 98.0 ± 0.0 | 6.0 ± 0.0 |"
    assert lines[3].startswith("| DPO | greedy | 5.0 ± 1.4 | 80.0 ± 14.1 |")
    assert figures_table(specs)[2] == "| POPE | 91.0 ± 1.4 / 50.0 ± 0.0 |"


def test_one_seed_has_no_spread(tmp_path):
    lines = runs_table([spec(tmp_path, "a", 40.0, 4.0, "90.0")], DESCRIPTIONS)
    assert lines[3] == "| DPO | greedy | 4.0 | 90.0 | 10.0 | 98.0 | 6.0 |"
