"""The random numbers of a process: what comes next, to be saved and restored."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


def random_state() -> dict[str, Any]:
    """As plain values."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), *rest),
        "torch": _as_text(torch.get_rng_state()),
        "cuda": _as_text(torch.cuda.get_rng_state()) if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(_as_tensor(state["torch"]))
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(_as_tensor(state["cuda"]))


@contextmanager
def undisturbed() -> Iterator[None]:
    """What happens within leaves the random numbers that come next as they were."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)


def seed_anew(*where: int) -> None:
    """Other random numbers for each seed, step and process."""
    seed = np.random.SeedSequence(where).generate_state(2)
    random.seed(int(seed[0]))
    np.random.seed(seed[0])
    torch.manual_seed(int(seed[1]))


def _as_text(state: Tensor) -> str:
    return state.numpy().tobytes().hex()


def _as_tensor(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
