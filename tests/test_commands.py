"""Every command ends in one line for a user's mistake, whichever commands there are (tests/commands.py)."""

import dataclasses
import json
import subprocess
import sys

import pytest

from tests.commands import DEEPSPEED, modules
from tests.conftest import ROOT
from training.utils.config.arguments import parse_all
from training.utils.config.flags import flag


@pytest.fixture(scope="module")
def ends(tmp_path_factory) -> dict[str, dict[str, tuple[int, str]]]:
    output = tmp_path_factory.mktemp("commands") / "ends.json"
    subprocess.run([sys.executable, "-m", "tests.commands", str(output)], cwd=ROOT, check=True)
    return json.loads(output.read_text())


def test_all_commands_are_found():
    assert {"eval.score", "data.convert", "training.sft.train_sft", "scripts.rehearse"} <= set(modules())
    assert DEEPSPEED not in modules()


@pytest.mark.parametrize("module", modules())
def test_a_mistake_is_one_line_and_status_2(module, ends):
    assert ends[module] is not None, "does not start by run_command or run_stage"
    assert ends[module].pop("outputs") == [], "are not tried before the work: flag(..., writes=...)"
    for mistake, (status, told) in ends[module].items():
        assert status == 2, f"{mistake}: {told}"
        assert told.startswith("error: ") and told.count("\n") == 1, f"{mistake}: {told}"
        if mistake.startswith("--"):  # it is seen before the work, whatever the input
            assert told.startswith(f"error: {mistake.split()[0]} "), f"{mistake}: {told}"


def test_flags_may_be_given_by_their_place(capsys):
    kinds = [("kind", str, flag(positional=True)), ("count", int, flag(2, positional=True))]
    config = dataclasses.make_dataclass("Config", kinds)
    assert parse_all([config], ["a"]) == (config("a", 2),)
    assert parse_all([config], ["a", "3"]) == (config("a", 3),)
    assert parse_all([config], ["a", "--count", "4"]) == (config("a", 4),)
    with pytest.raises(SystemExit):
        parse_all([config], ["a", "3", "b"])
    assert capsys.readouterr().err == "error: b: belongs to no flag; expected --kind --count at most\n"
