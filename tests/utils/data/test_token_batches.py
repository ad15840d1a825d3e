"""Micro-batches by tokens: each record once, within the budget, equally many on each process."""

from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import record
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.sampler import StepSampler
from training.utils.data.token_batches import TokenBatches


def cut(longest, max_tokens, pictured=None, **more):
    number = len(longest)
    pictured = np.ones(number, bool) if pictured is None else np.array(pictured, bool)
    return TokenBatches(max_tokens, np.ones(number, int), np.array(longest), pictured, **more)


def lengths(batches, longest):
    """Of the records of each micro-batch of each process."""
    return [[[longest[number] for number in batch] for batch in share] for share in batches]


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        # Three are the fewest that hold 20 tokens each.
        (1, [[[10, 10], [9, 3], [3, 3]]]),
        # Three do not share out over two; of four, 10 tokens each are enough.
        (2, [[[10], [9]], [[10], [3, 3, 3]]]),
    ],
)
def test_neighbours_in_length_share_a_micro_batch(processes, expected):
    longest = [3, 10, 9, 3, 10, 3]
    found = cut(longest, 20).shared_out(range(6), processes)
    assert lengths(found, longest) == expected


def test_micro_batches_are_even_where_fewer_tokens_do_too():
    """Nine rows of 10 in a budget of 80 need two micro-batches: 50 and 40, not 80 and 10."""
    found = cut([10] * 9, 80).shared_out(range(9), 1)
    assert [len(batch) for batch in found[0]] == [5, 4]


def test_a_record_longer_than_the_budget_is_alone():
    longest = [50, 3, 3, 3]
    batches = cut(longest, 10)
    assert batches.num_longer == 1
    assert lengths(batches.shared_out(range(4), 1), longest) == [[[50], [3, 3, 3]]]


def test_the_row_of_a_filler_counts_where_no_picture_is():
    """Of texts of 5 tokens beside a filler of 20, three fit into 80: four rows of 20."""
    texts = cut([5] * 4, 80, pictured=[False] * 4, filler_len=20)
    assert [texts.padded_size(range(number)) for number in (1, 3, 4)] == [40, 80, 100]
    assert {len(batch) for batch in texts.shared_out(range(4), 1)[0]} == {2}
    with_picture = cut([21, 5, 5], 80, pictured=[True, False, False], filler_len=20)
    assert with_picture.padded_size(range(3)) == 63


@given(
    st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.integers(1, 3)), min_size=1, max_size=30),
    st.sampled_from([1, 2, 4]),
    st.integers(20, 200),
    st.booleans(),
)
def test_each_record_comes_once_within_the_budget_on_equally_many_micro_batches(
    shapes, processes, max_tokens, packing
):
    shapes = shapes * processes  # a step's records are shared out evenly
    longest, pictured, rows = (np.array(column) for column in zip(*shapes, strict=True))
    rows = np.ones_like(rows) if packing else rows
    batches = TokenBatches(max_tokens, rows, longest, pictured, filler_len=8, row_len=60 * packing)
    found = batches.shared_out(range(len(longest)), processes)
    assert len({len(share) for share in found}) == 1
    assert sorted(n for share in found for batch in share for n in batch) == list(range(len(longest)))
    fewest = 2 * 60 if packing else 0  # a row of several records, and a filler's
    for batch in (batch for share in found for batch in share):
        assert len(batch) == 1 or batches.padded_size(batch) <= max(max_tokens, fewest)


def test_packed_records_come_into_the_rows_that_were_counted(encoder):
    words = [3, 40, 11, 25, 7, 18, 30, 2, 14, 22, 5, 9]
    records = [record("Say: " + "ab " * number, "Yes.", images=()) for number in words]
    trees = encoder.encode_all(records)
    longest = [len(tree) for tree in trees]
    row_len = max(longest)
    packed = cut(longest, 3 * row_len, row_len=row_len)
    short = Encoder(encoder.processor, encoder.family, "auto", row_len)
    collate = Collator(short, has_images=False, packing=True)
    found = packed.shared_out(range(len(trees)), 1)[0]
    assert len(found) > 1
    for batch in found:
        made = collate([trees[number] for number in batch])
        assert made.num_places == packed.padded_size(batch) <= 3 * row_len


def test_the_records_of_a_step_are_the_same_with_and_without_and_on_any_number_of_processes(monkeypatch):
    from training.utils.process import dist

    longest = np.random.default_rng(0).integers(5, 100, 50)

    def step_of(processes, per_device, by_tokens, step=3):
        monkeypatch.setattr(dist, "world_size", lambda: processes)
        found = []
        for rank in range(processes):
            monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
            sampler = StepSampler(50, per_device, 1, num_steps=8, seed=3, by_tokens=by_tokens)
            found.append(sampler.micro_batches(step))
            assert list(sampler) == [batch for step in range(8) for batch in sampler.micro_batches(step)]
        assert len({len(share) for share in found}) == 1
        return sorted(number for share in found for batch in share for number in batch)

    expected = step_of(1, 16, None)
    assert step_of(4, 4, None) == expected
    for processes in (1, 2, 4):
        assert step_of(processes, 16 // processes, cut(longest, 250)) == expected


def test_a_step_is_cut_in_milliseconds_where_there_are_many_records():
    longest = np.random.default_rng(0).integers(580, 2048, 1_000_000)
    sampler = StepSampler(1_000_000, 16, 1, num_steps=100, seed=0, by_tokens=cut(longest, 16_384))
    sampler.micro_batches(0)
    started = perf_counter()
    for step in range(1, 51):
        sampler.micro_batches(step)
    assert (perf_counter() - started) / 50 < 0.02
