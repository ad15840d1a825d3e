"""What a script has made is kept as long as it would be made alike: scripts/once.sh, and scripts/rovrm.sh by it."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

MAKE = 'set -euo pipefail; source scripts/once.sh; once "$@"; echo done'


@pytest.fixture
def made(tmp_path):
    """Copies a file by a command that counts how often it was run."""
    (tmp_path / "input").write_text("some records")
    copy = tmp_path / "copy.sh"
    copy.write_text('echo run >>"$(dirname "$0")/runs"; cp "$1" "$2"\n')

    def once(*more: str) -> tuple[int, str, int]:
        command = ["bash", copy, tmp_path / "input", tmp_path / "out" / "made", *more]
        done = subprocess.run(
            ["bash", "-c", MAKE, "-", tmp_path / "out" / "made", *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout == "done\n") == (done.returncode == 0)
        return done.returncode, done.stderr, len((tmp_path / "runs").read_text().split())

    return once


def test_the_same_command_is_not_run_again_and_another_is_refused(made, tmp_path):
    assert made("--keep", "5") == (0, "", 1)
    assert made("--keep", "5") == (0, "", 1)
    status, told, runs = made("--keep", "6")
    assert (status, runs) == (2, 1) and told.count("\n") == 1
    assert "made: was made with [--keep 5], and this run asks for [--keep 6]; choose another output" in told
    (tmp_path / "out" / "made").unlink()
    assert made("--keep", "6") == (0, "", 2)


def test_a_file_counts_by_what_it_holds(made, tmp_path):
    made()
    (tmp_path / "input").write_text("other records")
    status, told, runs = made()
    assert (status, runs) == (2, 1) and "was made with [input " in told


def test_what_nothing_is_known_of_or_was_left_half_made_is_made_anew(made, tmp_path):
    made()
    (tmp_path / "out" / "made.made_by").unlink()
    assert made() == (0, "", 2)


def test_a_command_that_fails_has_made_nothing(made, tmp_path):
    (tmp_path / "copy.sh").write_text('echo run >>"$(dirname "$0")/runs"; touch "$2"; exit 3\n')
    assert made()[::2] == (3, 1)
    assert made()[::2] == (3, 2)


@pytest.mark.parametrize(
    ("script", "setting", "told"),
    [
        ("demo.sh", "SCENES", "[SCENES=5000], and this run asks for [SCENES=7]"),
        ("demo.sh", "SFT_STEPS", "[SFT_STEPS=400], and this run asks for [SFT_STEPS=7]"),
        ("demo_rovrm.sh", "STEPS", "[STEPS=100], and this run asks for [STEPS=7]"),
        ("demo_projectors.sh", "SEED", "[SEED=0], and this run asks for [SEED=7]"),
        ("hacking.sh", "STEPS", "[STEPS=60], and this run asks for [STEPS=7]"),
        ("algorithms.sh", "PPO_STEPS", "[PPO_STEPS=50], and this run asks for [PPO_STEPS=7]"),
        ("demo_online.sh", "LR", "[LR=2e-4], and this run asks for [LR=7]"),
    ],
)
def test_a_demo_does_not_go_on_with_what_other_settings_made(script, setting, told, tmp_path):
    """Its first command fails here."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    for demo in ("demo", "demo-0", "demo-0-quick"):
        for stage in ("sft", "reward_model"):
            (tmp_path / demo / stage).mkdir(parents=True)
            (tmp_path / demo / stage / "finished").touch()
    given = {name: value for name, value in os.environ.items() if name not in ("SEED", "OUT", "STEPS")}
    given |= {"DEMO": str(tmp_path / "demo"), "SEEDS": "0", "VIRTUAL_ENV": sys.prefix}
    given["PATH"] = f"{tmp_path}/bin:{given['PATH']}"

    def run(**more: str) -> tuple[int, str]:
        command = ["bash", f"scripts/{script}"]
        done = subprocess.run(
            command, cwd=ROOT, env=given | more, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    for _ in range(2):
        status, error = run()
        assert status == 3, error
    status, error = run(**{setting: "7"})
    assert status == 2 and told in error and error.count("\n") == 1


STUB = """#!{python}
import os, sys
if "data.draw" in sys.argv or "training.reward_model.select_data" in sys.argv:
    flag = "--output" if "--output" in sys.argv else "--output_path"
    with open(sys.argv[sys.argv.index(flag) + 1], "w") as file:
        file.write(" ".join(sys.argv[sys.argv.index("--seed"):]))
"""


def test_a_selection_of_other_settings_is_refused(tmp_path):
    """Commands do nothing here but write what they are to write."""
    (tmp_path / "bin").mkdir()
    for name in ("python", "deepspeed", "torchrun"):
        (tmp_path / "bin" / name).write_text(STUB.format(python=sys.executable))
        (tmp_path / "bin" / name).chmod(0o755)
    given = {"MODEL": "sft", "OUTPUT": tmp_path / "out", "VIRTUAL_ENV": sys.prefix, "NUM_PROCESSES": 1}
    given |= {"PATH": f"{tmp_path}/bin:{sys.prefix}/bin:{os.environ['PATH']}", "DS_ACCELERATOR": "cpu"}
    (tmp_path / "out").mkdir()
    for name in ("TEXT", "CAPTIONED", "VISUAL"):
        given[name] = tmp_path / f"{name}.json"
        given[name].write_text("[]")

    def rovrm(**more) -> tuple[int, str]:
        settings = {**os.environ} | {name: str(value) for name, value in (given | more).items()}
        done = subprocess.run(
            ["bash", "scripts/rovrm.sh"], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    assert rovrm() == (0, "")
    assert rovrm() == (0, "")
    (tmp_path / "more.json").write_text("[{}]")
    for more, told in (
        (
            {"KEEP_TEXT": 7},
            "text.json: was made with [--num_keep 20000], and this run asks for [--num_keep 7]",
        ),
        ({"KEEP_CAPTIONED": 7}, "captioned.json: was made with [--num_keep 10000]"),
        ({"TEXT": tmp_path / "more.json"}, "text.json: was made with [--candidates TEXT.json"),
        ({"SELECT_FLAGS": "--transport pairwise"}, "asks for [--transport pairwise]"),
        ({"SELECT": "random"}, "captioned.json: was made with ["),
    ):
        status, error = rovrm(**more)
        assert status == 2 and told in error, error
    (tmp_path / "out" / "selector-captioned").mkdir(exist_ok=True)
    (tmp_path / "out" / "selector-captioned" / "log.jsonl").write_text("more steps")
    status, error = rovrm()
    assert status == 2 and "this run asks for [SELECTED_BY=log.jsonl " in error
