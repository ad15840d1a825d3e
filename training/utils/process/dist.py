"""Processes: who am I, and what do all of us together say."""

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as torch_dist
from torch.distributed import distributed_c10d

from ..files.disk import keep_place
from .told import Told

Result = TypeVar("Result")
JOIN = timedelta(minutes=15)  # until all processes are there: nodes may unpack a container first
closing = ExitStack()  # what has groups of processes of its own: it goes before ours does
TOLD_S = 30.0  # until who waits for that says so
WAIT = timedelta(hours=6)  # for another process, which may save or check data; watch.py notices a dead one


class Unjoined(Told):
    """Some processes of a run have never come."""


def init_distributed(seed: int) -> None:
    """Joins the processes that the launcher started, or makes a group of one; seeds every generator alike.

    Raises:
        Unjoined: some of them do not come.
    """
    alone = {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }
    if "RANK" not in os.environ:
        os.environ.update(alone)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # Torch leaves TF32 on for convolutions: with --precision fp32 a vision tower would keep 10 bits of 23.
        torch.backends.cudnn.allow_tf32 = False
    with _waiting():
        store, rank, world_size = next(torch_dist.rendezvous("env://", timeout=JOIN))
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    # Also of groups that others make: DeepSpeed's would give up after torch's 10 minutes with NCCL.
    distributed_c10d.default_pg_timeout = distributed_c10d.default_pg_nccl_timeout = WAIT
    torch_dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=WAIT)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def _waiting() -> Iterator[None]:
    """Says that this process waits for the others, if it does for long. Two tell: one of them may be gone."""
    rank, world_size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    where = f"at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    who = f"all {world_size} processes" if rank == 0 else "process 0"

    def tell() -> None:
        limit = f"it gives up after {JOIN.total_seconds() / 60:g} minutes"
        print(f"process {rank} of {world_size} waits {where} for {who}; {limit}", file=sys.stderr, flush=True)

    timer = threading.Timer(TOLD_S, tell)
    timer.daemon = True
    if rank < 2:
        timer.start()
    try:
        yield
    except torch_dist.DistError as error:
        raise Unjoined(
            f"process {rank} of {world_size} has not met {who} {where} in {JOIN.total_seconds() / 60:g} minutes: see "
            "what became of them, and whether this address can be reached from all nodes"
        ) from error
    finally:
        timer.cancel()


def rank() -> int:
    return torch_dist.get_rank() if torch_dist.is_initialized() else 0


def world_size() -> int:
    return torch_dist.get_world_size() if torch_dist.is_initialized() else 1


def is_main() -> bool:
    return rank() == 0


def first_on_node(build: Callable[[], Result]) -> Result:
    """What `build` gives: made by one process of each node, then found by the others, which wait for it.

    All processes must call it. `build` must leave what it makes on the node's disk and look there first.
    """
    is_first = int(os.environ.get("LOCAL_RANK", 0)) == 0
    if is_first:
        result = build()
    barrier()
    return result if is_first else build()


def processes_of_node() -> int:
    known = os.environ.get("LOCAL_SIZE") or os.environ.get("LOCAL_WORLD_SIZE")  # deepspeed, torchrun
    return int(known or 1)


def cores(of_node: bool = False) -> int:
    """Cores that this process may use: its share of the node's, or all of them while the others wait."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return found if of_node else max(1, found // processes_of_node())


def device() -> torch.device:
    return (
        torch.device("cuda", torch.cuda.current_device())
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def barrier() -> None:
    if world_size() > 1:
        torch_dist.barrier()


def sum_over_ranks(value: float | torch.Tensor) -> torch.Tensor:
    """The sum of a number or tensor over all processes, in float64 on the CPU."""
    total = torch.as_tensor(value).detach().to("cpu", torch.float64)
    if world_size() > 1:
        total = total.to(device())
        torch_dist.all_reduce(total)
    return total.cpu()


def gather_numbers(numbers: Sequence[float]) -> torch.Tensor:
    """The numbers of each process in rank order, [W, N], in float64 on the CPU."""
    table = torch.zeros(world_size(), len(numbers), dtype=torch.float64)
    table[rank()] = torch.tensor(numbers, dtype=torch.float64)
    return sum_over_ranks(table)


def gather_objects(value: Any) -> list[Any]:
    """What each process passed in, in rank order."""
    if world_size() == 1:
        return [value]
    gathered: list[Any] = [None] * world_size()
    torch_dist.all_gather_object(gathered, value)
    return gathered


def from_main(function: Callable[[], Any]) -> Any:
    """What the function returns on the main process, which alone calls it; what it raises there is raised on all."""
    value = error = None
    if is_main():
        try:
            value = function()
        except Exception as raised:  # told to the others, which would wait for ever
            keep_place(raised)
            error = raised
    value, error = gather_objects((value, error))[0]
    if error is not None:
        raise error
    return value


def shutdown() -> None:
    closing.close()
    if torch_dist.is_initialized():
        torch_dist.destroy_process_group()
