"""All benchmarks in one run, as a user starts it."""

import json
import re

import pytest

from eval.benches import preferences
from eval.benches.table import BENCHES
from eval.tables import in_folders
from tests.conftest import ROOT, picture, run_script
from tests.eval.conftest import lines
from training.utils.data.record import DataError


def test_what_is_there_is_scored_what_is_not_is_told_and_a_failure_ends_with_its_name(
    tiny_llava, write, tmp_path, serve, warm_path
):
    """One run: its flags go to each prediction, those of a variable to the scorer, the judge or one benchmark."""
    question = {"question_id": 1, "image": "a.png", "text": "Is there a cat in the image?", "label": "yes"}
    broken = question | {"question_id": 2, "image": "broken.png"}
    write("benches/pope/data/coco_pope_random.json", lines(question, broken))
    write("benches/pope/data/._coco_pope_random.json", "no json")
    write("benches/pope/images/broken.png", b"no picture")
    asked = {"from": "human", "value": "Which? (A) a (B) b"}
    write("benches/science_qa/data/test.txt", [{"id": "7", "conversations": [asked], "label": "B"}])
    picture().save(write("benches/pope/images/a.png", b""))
    write("benches/vl_rewardbench/data/a.json", [])
    record = {"question_type": "a", "image_content": ["cat"], "question": "?", "gt_answer": "a cat"}
    picture(1).save(write("benches/mmhal/images/m.png", b""))
    write("benches/mmhal/data/mmhal.json", [record | {"image_src": "https://host/m.png"}])
    write("benches/mmhal/judge/prompt.txt", "{} {} {} {}")
    write("benches/mmhal/judge/system.txt", "be just")
    server = serve((200, "Rating: 5", 0))
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
        SCORE_FLAGS="--best",
        JUDGE_URL=server.url,
        JUDGE_MODEL="m",
        JUDGE_IMAGES=1,
        JUDGE_FLAGS="--judge_concurrency 1",
        JUDGE_FLAGS_mmhal="--judge_max_tokens 7 --judge_rename max_tokens=max_completion_tokens",
        PREDICT_FLAGS_mmhal="--max_new_tokens 3",
        PATH=warm_path,
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
        "scored    mmhal",
        "scored    pope",
        summary[3],
        "scored    science_qa",
        "left out  vl_rewardbench: needs REWARD_MODEL",
    ]
    assert summary[3].startswith("failed    poppy: error: --bench poppy: unknown; expected one of")
    assert result["generation"]["max_new_tokens"] == 4
    (request,) = server.requests
    assert request[2]["max_completion_tokens"] == 7 and "max_tokens" not in request[2]
    picture_part, text = request[2]["messages"][0]["content"]
    assert picture_part["image_url"]["url"].startswith("data:image/png;base64,") and "a cat" in text["text"]
    judged = json.loads((tmp_path / "out" / "mmhal.score.json").read_text())
    assert judged["metrics"]["score"] == 5 and judged["generation"]["max_new_tokens"] == 3
    table = (tmp_path / "out" / "report.md").read_text()
    assert "pope.score" in table and "accuracy" in table


def official_folder(write) -> None:
    """As eval/README.md lays the files out, or as their repositories do, with pictures by COCO's names."""
    name = "000000000042.jpg"
    question = {"question_id": 1, "image": f"COCO_val2014_{name}", "text": "Is there a cat?", "label": "yes"}
    write("b/pope/data/output/coco/coco_pope_random.json", lines(question))
    write("b/repope/data/annotations/coco_repope_random.json", lines(question))
    notes = [
        {"id": 1, "type": "generative", "truth": ["dog"], "hallu": ["sea"]},
        {"id": 2, "type": "discriminative-relation", "truth": "no"},
    ]
    asked = [{"id": note["id"], "image": f"AMBER_{note['id']}.jpg", "query": "?"} for note in notes]
    for file, content in {
        "annotations.json": notes,
        "relation.json": {"dog": ["puppy"], "sea": []},
        "safe_words.txt": "sign\n",
        "query/query_all.json": asked,
    }.items():
        write(f"b/amber/data/{file}", content)
    problem = {
        "question": "Which?",
        "choices": ["red", "blue"],
        "answer": 1,
        "hint": "",
        "image": "image.png",
    }
    write("b/science_qa/data/problems.json", {"4": problem})
    write("b/science_qa/data/pid_splits.json", {"test": ["4"]})
    caps = {"image": name, "captions": ["A cat."], "instances": [{"category": "cat", "bbox": [0, 0, 1, 1]}]}
    for bench in ("chair", "llava_bench"):
        write(f"b/{bench}/data/caps_boxes_coco2014_val_80.jsonl", lines(caps))
    write("b/chair/synonyms_refine.txt", "cat, kitten\ndog, puppy\n")
    write(
        "b/llava_bench/data/qa90_questions.jsonl",
        lines({"question_id": 0, "image": name, "text": "?", "category": "conv"}),
    )
    write("b/llava_bench/data/qa90_gpt4_answer.jsonl", lines({"question_id": 0, "text": "cat"}))
    write("b/llava_bench/judge/rule.json", {"conv": {"role": "Helper", "prompt": "rate"}})
    write("b/llava_bench/judge/system.txt", "be just")
    for bench in ("pope", "repope", "chair", "llava_bench"):
        picture().save(write(f"b/{bench}/images/COCO_val2014_{name}", b""))
    for number in (1, 2):
        picture().save(write(f"b/amber/images/AMBER_{number}.jpg", b""))
    picture().save(write("b/science_qa/images/4/image.png", b""))


def test_a_folder_of_official_files_needs_no_help(tiny_llava, write, tmp_path, serve, warm_path):
    official_folder(write)
    server = serve((200, "8 9", 0))
    done = run_script(
        "scripts/eval_all.sh",
        MODEL=tiny_llava,
        BENCH_DIR=tmp_path / "b",
        OUTPUT=tmp_path / "out",
        MAX_RESPONSE_LEN=3,
        JUDGE_URL=server.url,
        JUDGE_MODEL="m",
        PATH=warm_path,
    )
    names = ["amber", "chair", "llava_bench", "pope", "science_qa"]
    *first, repope, last = done.stdout.splitlines()[-6:]
    assert [*first, last] == [f"scored    {name}" for name in names], done.stdout[-3000:]
    # This model was never trained: where it says neither yes nor no, RePOPE's authors count nothing.
    unread = (
        "none of its 1 answers counts, so no figure: 1 answers say neither yes nor no: they count nowhere"
    )
    assert repope == "scored    repope" or repope.endswith(unread)
    scores = {name: json.loads((tmp_path / "out" / f"{name}.score.json").read_text()) for name in names}
    assert all(score["answered"] == score["asked"] for score in scores.values())
    assert scores["llava_bench"]["metrics"]["relative"] == 112.5  # 9 of 8
    sent = server.requests[0][2]
    assert sent["temperature"] == 0.2 and sent["messages"][0] == {"role": "system", "content": "be just"}
    assert scores["llava_bench"]["warnings"] == []


def test_nothing_to_score_is_told_in_a_sentence(tmp_path):
    settings = {"MODEL": "m", "OUTPUT": tmp_path / "out"}
    gone = run_script("scripts/eval_all.sh", BENCH_DIR=tmp_path / "gone", **settings)
    assert gone.returncode == 1 and not gone.stdout
    assert gone.stderr.splitlines() == [
        f"error: BENCH_DIR {tmp_path}/gone: no such folder; expected a folder with a folder for each benchmark"
    ]
    (tmp_path / "none/mmhal/data").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mmhal.score.json").write_text('{"metrics": {"score": 6}}')  # of an earlier run
    nothing = run_script("scripts/eval_all.sh", BENCH_DIR=tmp_path / "none", **settings)
    assert nothing.returncode == 1 and "none: nothing was scored" in nothing.stderr
    assert "left out  mmhal: needs JUDGE_MODEL" in nothing.stdout
    earlier = tmp_path / "out/mmhal.score.json.earlier"
    assert f"not of this run, so not in the table: {earlier}" in nothing.stdout and earlier.is_file()
    with pytest.raises(DataError, match="no score file there"):
        in_folders([f"model={tmp_path / 'out'}"])


def test_the_script_knows_which_benchmarks_have_two_parsers_and_which_a_judge():
    lists = dict(
        re.findall(r'^(\w+)=" ([\w ]+) "$', (ROOT / "scripts/eval_all.sh").read_text(), re.MULTILINE)
    )

    def both(name):
        reads = BENCHES[name].options.get("parser")
        try:
            return reads and all(map(reads, ("official", "strict")))
        except DataError:
            return False

    judged = {name for name, bench in BENCHES.items() if bench.judged}
    two_parsers = {name for name in BENCHES if both(name)} | (judged - {"refomb"})
    assert set(lists["TWO_PARSERS"].split()) == two_parsers
    assert set(lists["JUDGED_BENCHES"].split()) == judged
    assert set(lists["REWARD_BENCHES"].split()) == {
        name for name, bench in BENCHES.items() if bench.read is preferences.read
    }
