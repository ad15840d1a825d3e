"""The recipes run from end to end on the tiny world, each to its table."""

import json
import os
import subprocess
import sys

import pytest

from data.tiny_world import TinyWorldConfig
from data.tiny_world import main as draw_world
from eval.benches import chair, choices, coco
from eval.expected import ExpectedConfig, figure, table
from tests.conftest import ROOT, load_records
from training.utils.answers.coco_objects import read_vocabulary
from training.utils.config.flags import ConfigError
from training.utils.data.record import DataError

RECIPES = sorted((ROOT / "recipes").glob("*.sh"))
NAMES = [file.stem for file in RECIPES if file.stem != "shared"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    draw_world(TinyWorldConfig(str(folder), num_pictures=12))
    return folder


def test_the_world_is_read_in_the_forms_of_the_published_data(world):
    for name, responses in (
        ("sft", 1),
        ("prompts", 0),
        ("human_preferences", 2),
        ("pairs", 2),
        ("text_pairs", 2),
    ):
        assert len(load_records(world / f"{name}.json", min_responses=responses)) >= 12
    assert len(load_records(world / "vl_rewardbench.jsonl", min_responses=2)) == 12
    (question, *_) = coco.load([world / "instances_val2014.json"])
    right, wrong = json.loads((world / "pairs.json").read_text())[0]["conversations"][-1]["value"]
    vocabulary = read_vocabulary(world / "synonyms.txt")
    for text, rate in ((right, 0), (wrong, 100)):
        assert chair.score([question], {question.id: [text]}, vocabulary).metrics["CHAIR_s"] == rate
    questions = choices.load([world / "count_test.jsonl"])
    assert len(questions) == 8 and all(question.truth in "1234" for question in questions)


def test_figures_are_found_by_their_names_and_stand_beside_the_published(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({"metrics": {"CHAIR_i": 12.345}, "kl": {"mean": 0.5}}))
    (tmp_path / "r.json").write_text(json.dumps([{"reward": 1}, {"reward": 2}]))
    assert figure(f"{tmp_path}/s.json:CHAIR_i") == 12.345 and figure(f"{tmp_path}/s.json:kl.mean") == 0.5
    assert figure(f"{tmp_path}/r.json:-1.reward") == 2
    rows = [f"CHAIR_i %=8.5={tmp_path}/s.json:CHAIR_i", f"KL=-={tmp_path}/s.json:kl.mean"]
    assert table(rows).splitlines()[2:] == ["| CHAIR_i % | 8.5 | 12.3 |", "| KL |  | 0.50 |"]
    for missing in ("s.json:CHAIR", "r.json:9.reward", "none.json:x"):
        with pytest.raises((DataError, FileNotFoundError)):
            figure(f"{tmp_path}/{missing}")
    with pytest.raises(ConfigError):
        ExpectedConfig(["no figure"], str(tmp_path / "t.md"))


def test_the_table_of_recipes_names_each(tmp_path):
    page = (ROOT / "recipes" / "README.md").read_text()
    script = (ROOT / "scripts" / "recipes.sh").read_text()
    for name in NAMES:
        assert f"({name}.sh)" in page and name in script


def test_all_run_on_the_tiny_world_to_their_tables(warm_path, tmp_path):
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": warm_path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "scripts/recipes.sh"],
        cwd=ROOT,
        env=environment | {"OUT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for name in NAMES:
        assert "| figure | published | yours |" in (tmp_path / name / "expected.md").read_text()
