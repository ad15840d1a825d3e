"""The check of a GPU, rehearsed on a CPU: two sections of it, at tiny sizes."""

import re

from scripts.gpu.page import figures, page
from scripts.gpu.sections import SECTIONS
from tests.conftest import ROOT, run_script


def row(text: str, family: str, work: str, way: str) -> list[str]:
    """The cells of a row behind its names."""
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith(f"| {family} | {work},") and f" | {way} | " in line
    ]
    return [cell.strip() for cell in line.split("|")[4:-1]]


def test_two_sections_are_measured_and_the_rest_stays_unmeasured(tmp_path):
    written = tmp_path / "gpu.md"
    sections = ("llava-1.5:rm", "qwen2.5-vl:generate")
    patient = ("--section_s", "600", "--limit_s", "1200")  # the machine may be busy
    done = run_script("scripts/gpu_check.sh", "--only", *sections, *patient, SIZE="tiny", OUTPUT=written)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    text = written.read_text()
    assert "Measured on CPU; a matrix product reaches " in text and "failed" not in text
    for way in ("trees", "rows"):
        for family, work in (("llava-1.5", "reward model"), ("qwen2.5-vl", "generation")):
            seconds, tokens_per_s, used, *_, ratio, _ = row(text, family, work, way)
            assert float(seconds) > 0 and float(tokens_per_s.replace(",", "")) > 0 and float(used) > 0
            assert float(ratio) == 1 or way == "trees"
    assert row(text, "llava-1.5", "DPO", "trees")[0] == "not measured"


def test_a_run_without_time_leaves_a_page_that_says_what_was_not_reached(tmp_path):
    written = tmp_path / "gpu.md"
    more = ("--limit_s", "0.001", "--only", "llava-1.5:dpo")
    done = run_script("scripts/gpu_check.sh", *more, SIZE="tiny", OUTPUT=written)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "- llava-1.5:dpo: no time was left" in written.read_text()


def test_a_section_that_does_not_exist_is_refused_in_a_line():
    done = run_script("scripts/gpu_check.sh", "--only", "llava-1.5:sft")
    assert done.returncode == 2 and re.fullmatch(
        r"error: --only llava-1.5:sft: unknown; expected .*\n", done.stderr
    )


def test_figures_of_a_row():
    """By hand: 2,000 tokens in 0.5 s, 1e14 operations of a device that does 400e12 a second, rows in 0.8 s."""
    measured = {"seconds": 0.5, "tokens": 2000, "operations": 1e14, "peak_gib": 40.25}
    assert figures(measured, {"tflops": 400.0}, 0.8) == ["0.500", "4,000", "50.0", "40.2", "1.60"]
    assert figures({"failed": "out of memory"}, {"tflops": 400.0}, 0.8)[0] == "out of memory"


def test_the_page_of_the_project_measures_every_section():
    text = (ROOT / "docs" / "gpu.md").read_text()
    assert text.splitlines()[0] == page([]).splitlines()[0]
    for section in SECTIONS.values():
        assert f"| {section.family} | " in text
