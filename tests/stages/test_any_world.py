"""A run goes on with other processes and at another ZeRO stage as if nothing had been."""

import json

import pytest

from scripts.any_world import FEW
from tests.stages.conftest import run


@pytest.mark.dist
def test_the_next_ten_steps_are_the_same_in_another_world(tmp_path):
    output = tmp_path / "worlds"
    done = run(["-m", "scripts.any_world", "--few", "--output_dir", str(output)])
    differences = json.loads((output / "differences.json").read_text())
    assert len(differences) == len(FEW) and max(differences) < 1e-5, done.stdout
    told = (output / "log.txt").read_text()
    assert "going on with 1 processes, and 2 before: the same records in each step, and other random" in told
