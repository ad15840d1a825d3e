"""The table of scripts/demo_online.sh, from files as the scripts write them."""

import json

import pytest

from demo.online import DemoOnlineConfig, main
from training.utils.data.record import DataError


@pytest.fixture
def demos(tmp_path):
    """Two seeds of four pictures with a cat each. A run says of the first ones that there is a dog too."""
    scenes = [{"id": str(n), "image": f"{n}.png", "objects": ["cat"]} for n in range(4)]
    for seed in range(2):
        (tmp_path / f"demo-{seed}" / "world").mkdir(parents=True)
        truth = {"objects": ["cat", "dog"], "scenes": scenes}
        (tmp_path / f"demo-{seed}" / "world" / "truth_test.json").write_text(json.dumps(truth))

    def answers(seed, name, step, num_invented, reward):
        folder = tmp_path / f"demo-{seed}" / "online" / "answers"
        folder.mkdir(parents=True, exist_ok=True)
        texts = ["a cat and a dog" if n < num_invented else "a cat" for n in range(4)]
        lines = [
            {"id": str(n), "response": t, "responses": [t], "scores": [reward]} for n, t in enumerate(texts)
        ]
        (folder / f"{name}-{step}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    return tmp_path, answers


def test_a_row_for_each_run_by_its_last_step_with_what_it_took(demos, capsys):
    folder, answers = demos
    for seed in range(2):
        answers(seed, "start", 0, 3, -1.0)
        answers(seed, "one_round", 2, 3, 0.0)
        answers(seed, "one_round", 10, 2 + seed, 0.5)  # later than step 2, whatever their order as words
        answers(seed, "online", 10, 0, 1.0)
        run = folder / f"demo-{seed}" / "online"
        (run / "one_round" / "round-1" / "model").mkdir(parents=True)
        (run / "online").mkdir()
        steps = [{"step": n, "loss": 0.5} for n in range(1, 11)] + [{"step": 10, "eval_reward": 1.0}]
        sampled = [{"responses": ["a", "b"]}] * 5
        for file, lines in (
            (run / "one_round" / "round-1" / "model" / "log.jsonl", steps),
            (run / "one_round" / "round-1" / "answers.jsonl", sampled),
            (run / "online" / "log.jsonl", steps[: 9 + seed]),  # seed 0 had a step without a pair
            (run / "online" / "rollouts.jsonl", sampled),
        ):
            file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    main(DemoOnlineConfig([str(folder / f"demo-{seed}") for seed in (0, 1)], str(folder / "table.md")))
    lines = (folder / "table.md").read_text().splitlines()
    assert lines[2] == "| SFT, where all start | 2 |  |  | 75.0 ± 0.0 | 100.0 ± 0.0 | -1.00 ± 0.00 |  |  |"
    # 2 and 3 of 4 invent: 50 and 75
    assert lines[3] == "| one round | 2 | 10 | 10 | 62.5 ± 17.7 | 100.0 ± 0.0 | 0.50 ± 0.00 |  |  |"
    assert lines[4].startswith(
        "| online steps, held to SFT | 2 | 10 ± 1 | 10 | 0.0 ± 0.0 | 100.0 ± 0.0 | 1.00 ± 0.00 |"
    )
    # 5 of 8 answers are better: by chance all 5 go one way in 2 of 32 draws, p near 0.06
    change = lines[4].split(" | ")[7]
    assert change.startswith("-62.5 (") and 0.03 < float(change.split("p ")[1]) < 0.10
    assert lines[4].split(" | ")[8].startswith("+0.0 (+0.0 to +0.0), p 1.000")
    assert (folder / "table.png").stat().st_size > 1000


def test_a_demo_without_its_start_is_refused(demos):
    folder, answers = demos
    answers(0, "start", 0, 1, 0.0)
    with pytest.raises(DataError, match="expected online/answers/start-0.jsonl"):
        main(DemoOnlineConfig([str(folder / f"demo-{seed}") for seed in (0, 1)], str(folder / "table.md")))
