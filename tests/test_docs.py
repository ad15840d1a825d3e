"""The pages: links lead somewhere, flags are ours, and the samples they name are there and are read."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLES
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.stage_config import (
    DPOConfig,
    PredictConfig,
    RewardConfig,
    SFTConfig,
)
from training.utils.data.entries import read_entries
from training.utils.data.formats import normalise
from training.utils.model.legacy_weights import ConvertConfig

CONFIGS = (SFTConfig, RewardConfig, DPOConfig, PPOConfig, PredictConfig, RewardScoreConfig, ConvertConfig)
KNOWN = {field.name for config in CONFIGS for field in dataclasses.fields(config)}
OF_EVAL = {"bench", "best", "similarity", "nouns", "predictions"}  # of eval.score and eval.judge
PAGES = sorted((ROOT / "docs").glob("from_*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_flags_settings_and_samples_that_there_are(page):
    text = page.read_text()
    ours = [row.split(" | ")[1] for row in text.splitlines() if row.startswith("| ") and row.count(" | ") > 0]
    flags = {flag for cell in ours for flag in re.findall(r"--([a-z]\w*)", cell)}
    assert flags <= KNOWN | OF_EVAL, flags - KNOWN - OF_EVAL
    scripts = "".join(file.read_text() for file in [*ROOT.glob("run_*.sh"), *(ROOT / "scripts").glob("*.sh")])
    settings = {name for cell in ours for name in re.findall(r"`([A-Z_]+)=", cell)}
    assert settings <= set(re.findall(r"\$\{([A-Z_]+)", scripts)), settings
    for name in re.findall(r"`S/([\w.]+)`", text):
        entries = read_entries(SAMPLES / "formats" / name)
        assert all(normalise(entry).turns for entry in entries)


def all_pages() -> list[Path]:
    """Every page of the project; what is installed or was made by a run is not among them."""
    tops = (ROOT, ROOT / "data", ROOT / "eval", ROOT / "docs", *(ROOT / "training").glob("*/"))
    return sorted(page for top in tops for page in top.glob("*.md"))


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_there_are(page):
    for link, heading in re.findall(r"\]\(((?!https?:)[^)#]*)(#[^)]*)?\)", page.read_text()):
        place = page.parent / link if link else page
        assert place.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)", place.read_text(), re.MULTILINE)
            assert heading[1:] in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_every_page_of_the_book_is_named_by_the_first_page():
    first = (ROOT / "README.md").read_text()
    assert len(first.splitlines()) <= 120
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in first, page.name


PUBLISHED = """55.0, 47.9; 53.8, 51.0  29.0, 21.2; 25.8, 16.7  37.1, 29.0; 37.2, 26.6  66.7, 73.6; 75.6, 84.0
46.16, 57.69; 50.00, 73.08  55.0, 53.2; 53.8, 50.0  29.0, 26.0; 25.8, 16.1  37.1, 29.1; 37.2, 23.2
66.7, 72.8; 75.6, 78.2  46.16, 51.11; 50.00, 52.63  37.1, 22.2; 37.2, 15.7  66.7, 80.9; 75.6, 84.2
46.16, 56.09; 50.00, 65.63"""  # best-of-n, PPO, DPO: 7B before and after, then 13B, as its README draws them


def test_each_experiment_of_vision_llm_alignment_has_its_figures():
    page = (ROOT / "docs" / "from_vision_llm_alignment.md").read_text()
    assert [figures for figures in re.split(r"  |\n", PUBLISHED) if figures not in page] == []


def test_mm_instruct_becomes_prompts_contexts_and_answers(tmp_path, monkeypatch):
    """The script of the page, on lines as they are published."""
    page = (ROOT / "docs" / "from_vision_llm_alignment.md").read_text()
    script = page.split("python - <<'PY'\n")[1].split("PY\n")[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MM-Instruct-eval" / "baseline_answers").mkdir(parents=True)
    asked = {
        "question_id": 3,
        "image": "a.jpg",
        "text": "Write a haiku.",
        "caption": "A cat.",
        "category": "x",
    }
    (tmp_path / "MM-Instruct-eval" / "MM-Instruct-Eval-question.json").write_text(json.dumps(asked) + "\n")
    answer = {"question_id": 3, "prompt": "Write a haiku.", "text": "Cat.", "model_id": "x"}
    (tmp_path / "MM-Instruct-eval" / "baseline_answers" / "llava-v1.5-13b.json").write_text(
        json.dumps(answer)
    )
    exec(compile(script, "page", "exec"), {})
    (prompt,) = map(normalise, read_entries(tmp_path / "mm_instruct.json"))
    assert (
        prompt.images == ["a.jpg"] and prompt.turns[0].text == "<image>\nWrite a haiku." and prompt.id == "3"
    )
    assert json.loads((tmp_path / "mm_instruct_contexts.json").read_text()) == [
        {"id": "3", "context": "A cat."}
    ]
    line = json.loads((tmp_path / "llava_13b.jsonl").read_text())
    assert line == {"id": "3", "prompt": prompt.turns[0].text, "response": "Cat."}
