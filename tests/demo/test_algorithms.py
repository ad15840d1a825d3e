"""The table of algorithms, from files as the scripts write them."""

import json

from demo.algorithms import AlgorithmsConfig, in_groups, main


def write_run(folder, kl, reward, hal):
    folder.mkdir(parents=True)
    (folder / "drift.json").write_text(json.dumps({"kl": {"mean": kl}, "reward": {"mean": reward}, "n": 4}))
    for answers, rate in (("greedy", hal), ("drift", hal + 1)):
        items = [
            {"id": str(n), "invented": ["cat"] * (n < rate), "covered": [], "mentions": 1, "num_objects": 1}
            for n in range(100)
        ]
        scores = {"metrics": {"Hal": rate, "Cover": 99.0}, "per_item": items}
        (folder / f"{answers}-scores.json").write_text(json.dumps(scores))


def test_a_row_for_each_algorithm_over_the_seeds_that_have_it_in_groups_that_a_test_tells(tmp_path, capsys):
    for seed, (kl, reward, hal) in enumerate([(0.5, 2.0, 1.0), (0.7, 3.0, 2.0)]):
        write_run(tmp_path / f"demo-{seed}" / "algorithms" / "ppo", kl, reward, hal)
        write_run(tmp_path / f"demo-{seed}" / "algorithms" / "grpo", kl, reward, hal + 1)
    write_run(tmp_path / "demo-0" / "algorithms" / "kto", 1.25, -1.0, 20.0)
    demos = [str(tmp_path / f"demo-{seed}") for seed in (0, 1)]
    main(AlgorithmsConfig(demos, str(tmp_path / "table.md")))
    lines = (tmp_path / "table.md").read_text().splitlines()
    # mean and sample standard deviation of 1 and 2, of 2 and 3, of 0.5 and 0.7
    assert (
        lines[2]
        == "| 1 | PPO | 2 | 1.5 ± 0.7 | 99.0 ± 0.0 | 2.5 ± 0.7 | 99.0 ± 0.0 | 2.5 ± 0.7 | 0.60 ± 0.14 |"
    )
    # 3 of 200 pictures against 5 of them are not told apart (two answers differ), 1 of 100 against 20 are
    assert lines[3].startswith("| 1 | GRPO | 2 | 2.5 ± 0.7 |")
    assert lines[4] == "| 2 | KTO | 1 | 20.0 | 99.0 | 21.0 | 99.0 | -1.0 | 1.25 |"
    assert (tmp_path / "table.png").stat().st_size > 1000


def test_runs_of_no_common_picture_are_one_group():
    def items(seed):
        return [{"id": f"{seed} a", "invented": [seed], "covered": [], "mentions": 1, "num_objects": 1}]

    assert in_groups({"ppo": items(0), "kto": items(1)}, {"ppo": 1.0, "kto": 50.0}) == {"ppo": 1, "kto": 1}
