"""The table of algorithms, from files as the scripts write them."""

import json

from demo.algorithms import AlgorithmsConfig, main


def write_run(folder, kl, reward, hal):
    folder.mkdir(parents=True)
    (folder / "drift.json").write_text(json.dumps({"kl": {"mean": kl}, "reward": {"mean": reward}, "n": 4}))
    for answers, rate in (("greedy", hal), ("drift", hal + 1)):
        scores = {"metrics": {"Hal": rate, "Cover": 99.0}}
        (folder / f"{answers}-scores.json").write_text(json.dumps(scores))


def test_a_row_for_each_algorithm_over_the_seeds_that_have_it(tmp_path, capsys):
    for seed, (kl, reward, hal) in enumerate([(0.5, 2.0, 1.0), (0.7, 3.0, 2.0)]):
        write_run(tmp_path / f"demo-{seed}" / "algorithms" / "gae", kl, reward, hal)
    write_run(tmp_path / "demo-0" / "algorithms" / "kto", 1.25, -1.0, 10.0)
    demos = [str(tmp_path / f"demo-{seed}") for seed in (0, 1)]
    main(AlgorithmsConfig(demos, str(tmp_path / "table.md")))
    lines = (tmp_path / "table.md").read_text().splitlines()
    # mean and sample standard deviation of 1 and 2, of 2 and 3, of 0.5 and 0.7
    assert (
        lines[2] == "| PPO | 2 | 1.5 ± 0.7 | 99.0 ± 0.0 | 2.5 ± 0.7 | 99.0 ± 0.0 | 2.5 ± 0.7 | 0.60 ± 0.14 |"
    )
    assert lines[3] == "| KTO | 1 | 10.0 | 99.0 | 11.0 | 99.0 | -1.0 | 1.25 |"
    assert (tmp_path / "table.png").stat().st_size > 1000
