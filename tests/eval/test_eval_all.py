"""All benchmarks in one run, as a user starts it."""

import json

from tests.conftest import picture, run_script
from tests.eval.conftest import lines


def test_what_is_there_is_scored_what_is_not_is_told_and_a_failure_ends_with_its_name(
    tiny_llava, write, tmp_path
):
    question = {"question_id": 1, "image": "a.png", "text": "Is there a cat in the image?", "label": "yes"}
    broken = question | {"question_id": 2, "image": "broken.png"}
    write("benches/pope/data/coco_pope_random.json", lines(question, broken))
    write("benches/pope/data/._coco_pope_random.json", "no json")
    write("benches/pope/images/broken.png", b"no picture")
    asked = {"from": "human", "value": "Which? (A) a (B) b"}
    write("benches/science_qa/data/test.txt", [{"id": "7", "conversations": [asked], "label": "B"}])
    picture().save(write("benches/pope/images/a.png", b""))
    write("benches/vl_rewardbench/data/a.json", [])
    write("benches/mmhal/data/a.json", [])
    write("benches/empty/readme", "")
    write("benches/poppy/data/a.json", [])
    done = run_script(
        "scripts/eval_all.sh",
        "--on_bad_record",
        "skip",
        MODEL=tiny_llava,
        BENCH_DIR=tmp_path / "benches",
        OUTPUT=tmp_path / "out",
        MAX_RESPONSE_LEN=4,
        PARSER="strict",
    )
    assert done.returncode == 1
    assert "empty/: holds no data/; left out" in done.stdout
    assert "vl_rewardbench: needs REWARD_MODEL; left out" in done.stdout
    assert "--bench poppy: unknown; expected one of" in done.stdout + done.stderr
    assert "error: failed: poppy" in done.stderr
    result = json.loads((tmp_path / "out" / "pope.score.json").read_text())
    assert (result["answered"], result["asked"]) == (1, 2) and "strict parser" in result["variant"]
    assert json.loads((tmp_path / "out" / "science_qa.score.json").read_text())["answered"] == 1
    summary = done.stdout[done.stdout.rindex("left out  empty/: holds no data/") :].splitlines()
    assert summary[1:] == [
        "left out  mmhal: needs JUDGE_MODEL",
        "scored    pope",
        summary[3],
        "scored    science_qa",
        "left out  vl_rewardbench: needs REWARD_MODEL",
    ]
    assert summary[3].startswith("failed    poppy: error: --bench poppy: unknown; expected one of")
    assert result["generation"]["max_new_tokens"] == 4
    assert "mmhal: needs JUDGE_MODEL; left out" in done.stdout
    table = (tmp_path / "out" / "report.md").read_text()
    assert "pope.score" in table and "accuracy" in table


def test_nothing_to_score_is_told_in_a_sentence(tmp_path):
    settings = {"MODEL": "m", "OUTPUT": tmp_path / "out"}
    gone = run_script("scripts/eval_all.sh", BENCH_DIR=tmp_path / "gone", **settings)
    assert gone.returncode == 1 and not gone.stdout
    assert gone.stderr.splitlines() == [
        f"error: BENCH_DIR {tmp_path}/gone: no such folder; expected a folder with a folder for each benchmark"
    ]
    (tmp_path / "none").mkdir()
    nothing = run_script("scripts/eval_all.sh", BENCH_DIR=tmp_path / "none", **settings)
    assert nothing.returncode == 1 and "none: nothing was scored" in nothing.stderr
