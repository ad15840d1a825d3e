"""Processes that wait for each other."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

# A process that saves for longer than groups wait unless they are told: torch's 10 minutes, here 1 second.
SLOW_SAVE = """
import os, time
from datetime import timedelta
import torch
from torch.distributed import distributed_c10d
distributed_c10d.default_pg_timeout = timedelta(seconds=1)
from training.utils import dist
dist.init_distributed(seed=0)
groups = [None, torch.distributed.new_group([0, 1])]  # as DeepSpeed makes one for its own
for group in groups:
    if dist.is_main():
        time.sleep(2.5)
    total = torch.ones(1)
    torch.distributed.all_reduce(total, group=group)
    assert total == 2
dist.shutdown()
"""


@pytest.mark.dist
def test_a_save_may_last_longer_than_torch_waits_unless_told():
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--standalone",
        "--no_python",
    ]
    done = subprocess.run(
        [*command, sys.executable, "-c", SLOW_SAVE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
