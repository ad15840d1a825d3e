"""All benchmarks in one run, as a user starts it."""

import json

from tests.conftest import picture, run_script
from tests.eval.conftest import lines


def test_what_is_there_is_scored_what_is_not_is_told_and_a_failure_ends_with_its_name(
    tiny_llava, write, tmp_path
):
    question = {"question_id": 1, "image": "a.png", "text": "Is there a cat in the image?", "label": "yes"}
    write("benches/pope/data/coco_pope_random.json", lines(question))
    picture().save(write("benches/pope/images/a.png", b""))
    write("benches/vl_rewardbench/data/a.json", [])
    write("benches/mmhal/data/a.json", [])
    write("benches/empty/readme", "")
    write("benches/poppy/data/a.json", [])
    done = run_script(
        "scripts/eval_all.sh",
        MODEL=tiny_llava,
        BENCH_DIR=tmp_path / "benches",
        OUTPUT=tmp_path / "out",
        MAX_RESPONSE_LEN=4,
    )
    assert done.returncode == 1
    assert "empty/: holds no data/; left out" in done.stdout
    assert "vl_rewardbench: needs REWARD_MODEL; left out" in done.stdout
    assert "--bench poppy: unknown; expected one of" in done.stdout + done.stderr
    assert "error: failed: poppy" in done.stderr
    result = json.loads((tmp_path / "out" / "pope.score.json").read_text())
    assert result["answered"] == 1 and result["generation"]["max_new_tokens"] == 4
    assert "mmhal: needs JUDGE_MODEL; left out" in done.stdout
    table = (tmp_path / "out" / "report.md").read_text()
    assert "pope.score" in table and "accuracy" in table
