"""The shell scripts, as a user starts them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from tests.conftest import ROOT, run_script

SCRIPTS = sorted([*ROOT.glob("run_*.sh"), *ROOT.glob("scripts/*.sh"), *ROOT.glob("recipes/*.sh")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_parses_and_stops_at_the_first_error(script):
    subprocess.run(["bash", "-n", script], check=True)
    if script.name not in (
        "launch.sh",
        "setup.sh",
        "setup_vllm.sh",
        "trl.sh",
        "once.sh",
        "shared.sh",
    ):  # these are sourced
        assert "set -euo pipefail" in script.read_text()


@pytest.mark.parametrize("active", [False, True], ids=["none active", "one active"])
def test_a_run_script_takes_the_environment_of_the_project_where_none_is_active(active, tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("VIRTUAL_ENV=its_own\n")
    environment = {"PATH": "/usr/bin:/bin"} | ({"VIRTUAL_ENV": "another"} if active else {})
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; source {ROOT}/scripts/launch.sh; echo $VIRTUAL_ENV"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ("another\n" if active else "its_own\n")


def test_a_signal_to_a_run_script_ends_its_training_too(tmp_path):
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    environment |= {"MODEL": "none", "OUTPUT": str(tmp_path / "out"), "NUM_PROCESSES": "1"}
    script = subprocess.Popen(["bash", "run_sft.sh"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    def stages():
        children = psutil.Process(script.pid).children(recursive=True)
        found = []
        for child in children:
            with suppress(psutil.Error):  # it has ended meanwhile
                if "-m training.sft" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    deadline = time.monotonic() + 120
    while not (running := stages()) and time.monotonic() < deadline:
        time.sleep(0.01)
    script.send_signal(signal.SIGTERM)
    assert script.wait(60) != 0
    assert running and not psutil.wait_procs(running, timeout=3)[1]  # it still imports


def test_the_demo_runs_through_all_stages_to_a_report_and_a_second_run_repeats_nothing(tmp_path):
    sizes = "NAMES=16 PICTURE_PX=48 SCENES=48 NUM_VAL=16 NUM_TEST=16 NUM_NEW=4 TOWER_SCENES=96 SFT_STEPS=6 SAMPLED=16"
    sizes += " LANGUAGE_STEPS=3 CAPTIONS=4 DIALOGUES=2"
    sizes += " RM_STEPS=4 DPO_STEPS=3 PPO_STEPS=2 CRITIC_STEPS=1 GRPO_STEPS=2 BATCH_SIZE=16 PROMPTS=8"
    settings = dict(setting.split("=") for setting in sizes.split()) | {"ART": "drawings"}

    def demo() -> str:
        done = run_script("scripts/demo.sh", DEMO=tmp_path / "demo", **settings)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    demo()
    folder = tmp_path / "demo"
    page = (folder / "report.html").read_text()
    for expected in (
        "<h2>Results</h2>",
        "best of 8",
        "PPO",
        "GRPO on counting",
        "unseen",
        "AMBER",
        "OpenMoji",
    ):
        assert expected in page
    assert "data:image/png;base64," in page and 'data-outcome="' in page
    assert "http://" not in page and "https://" not in page
    for stage in ("sft", "reward_model", "dpo", "ppo", "grpo"):
        assert (folder / stage / "finished").is_file()
        assert (folder / stage / "training.log").stat().st_size > 0
        assert (folder / stage / "args.json").is_file()
    assert demo().count("finished before; nothing to do") == 5
