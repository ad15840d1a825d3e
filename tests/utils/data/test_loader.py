"""What workers prepare while a step is trained on."""

import multiprocessing
import resource
from time import monotonic, sleep

import pytest
import torch

from tests.conftest import record
from training.utils.data.loader import Data, flow, step_batches
from training.utils.data.sampler import StepSampler

ACCUMULATION = 16  # of which each micro-batch comes from a worker as some twenty tensors


@pytest.fixture
def few_open_files():
    """Fewer than the tensors of the micro-batches that are on the way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (250, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def loading(encoder, encode, steps):
    records = [record("What is this?", "A star.", images=()) for _ in range(64)]
    sampler = StepSampler(len(records), 1, ACCUMULATION, num_steps=steps, seed=0)
    data = Data(RecordList(records), RecordList([]), sampler, encoder, encode)
    return data, step_batches(data, packing=False, num_workers=2)


class RecordList(list):
    has_images = False


def test_the_micro_batches_of_a_step_are_made_while_the_one_before_is_trained_on(encoder, few_open_files):
    made = multiprocessing.Value("i", 0)

    def encode(records):
        with made.get_lock():
            made.value += 1
        return encoder.encode_all(records)

    _, steps = loading(encoder, encode, steps=3)
    first = next(steps)
    assert len(first) == ACCUMULATION
    deadline = monotonic() + 20
    while made.value < 2 * ACCUMULATION and monotonic() < deadline:
        sleep(0.05)
    assert made.value >= 2 * ACCUMULATION
    assert sum(1 for _ in steps) == 2


def test_a_step_knows_how_long_it_waited_and_how_much_of_it_is_padding(encoder):
    def slow(records):
        sleep(0.02)
        return encoder.encode_all(records)

    data, steps = loading(encoder, slow, steps=1)
    batches = next(steps)
    assert ACCUMULATION * 0.02 / 2 <= data.waited_s  # two workers
    rows = [torch.tensor([[0, 0, -1]]), torch.tensor([[0, 0, 0], [0, -1, -1]])]
    for batch, tree in zip(batches[:2], rows, strict=True):
        batch.tree = batch.input_ids = tree
    assert flow(batches[:2], 0.5) == pytest.approx({"tokens": 6, "padding": 3 / 9, "waited_s": 0.5})
