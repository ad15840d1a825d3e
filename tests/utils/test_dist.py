"""Processes that wait for each other."""

import os
import subprocess
import sys

import pytest

from scripts.ranks import free_port
from tests.conftest import ROOT

# A process that saves for longer than groups wait unless they are told: torch's 10 minutes, here 1 second.
SLOW_SAVE = """
import os, time
from datetime import timedelta
import torch
from torch.distributed import distributed_c10d
distributed_c10d.default_pg_timeout = timedelta(seconds=1)
from training.utils.process import dist
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


# A process whose main one has died before they met; nobody started them who would tell.
ALONE = """
from datetime import timedelta
from training.utils.process import dist
from training.utils.process.ending import explain
dist.JOIN, dist.TOLD_S = timedelta(seconds=2), 0.5
try:
    dist.init_distributed(seed=0)
except Exception as error:
    print(explain(error))
"""


def test_who_waits_for_a_process_that_never_comes_says_so_and_ends():
    port = str(free_port())
    env = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"process 1 of 2 waits at 127.0.0.1:{port} for process 0; it gives up after" in done.stderr
    assert f"message='process 1 of 2 has not met process 0 at 127.0.0.1:{port} in 0.0333" in done.stdout
    assert "status=1, details=''" in done.stdout
