"""Batches and schedules do not depend on how many processes share them."""

from hypothesis import given
from hypothesis import strategies as st

from training.utils.data.sampler import StepSampler, steps_per_epoch


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 3), st.integers(0, 5))
def test_an_epoch_visits_each_record_and_fills_its_last_step_from_its_beginning(
    num, per_device, accumulation, seed
):
    sampler = StepSampler(num, per_device, accumulation, num_steps=100, seed=seed)
    visited = [i for step in range(sampler.steps_per_epoch) for i in sampler.step_records(step)]
    assert sorted(visited[:num]) == list(range(num))
    assert visited[num:] == (visited[:num] * (len(visited) // num))[: len(visited) - num]
    assert sampler.steps_per_epoch == steps_per_epoch(num, per_device * accumulation)


def test_processes_together_take_what_one_would(monkeypatch):
    from training.utils.process import dist

    alone = list(StepSampler(50, per_device=6, accumulation=2, num_steps=8, seed=3))
    shares = []
    monkeypatch.setattr(dist, "world_size", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        shares.append(list(StepSampler(50, per_device=2, accumulation=2, num_steps=8, seed=3)))
    together = [sum(micro, []) for micro in zip(*shares, strict=True)]
    assert together == alone


def test_a_resumed_sampler_goes_on_with_the_same_records():
    whole = list(StepSampler(10, 2, 2, num_steps=9, seed=1))
    assert list(StepSampler(10, 2, 2, num_steps=9, seed=1, start_step=4)) == whole[4 * 2 :]


def test_another_epoch_and_another_seed_have_another_order():
    sampler = StepSampler(64, 64, 1, num_steps=2, seed=1)
    assert sampler.step_records(0) != sampler.step_records(1)
    assert sampler.step_records(0) != StepSampler(64, 64, 1, num_steps=2, seed=2).step_records(0)


@given(st.integers(0, 5))
def test_sources_are_visited_by_their_weights(seed):
    sources = [(range(10), 1.0), (range(10, 30), 0.5), (range(30, 34), 2.25)]
    sampler = StepSampler(34, 7, 1, num_steps=100, seed=seed, weighted=sources)
    assert sampler.epoch_len == 10 + 10 + 9

    def visits(epoch):
        steps = range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch)
        return [i for step in steps for i in sampler.step_records(step)][: sampler.epoch_len]

    first, second = visits(0), visits(1)
    assert sorted(i for i in first if i < 10) == list(range(10))
    halves = [{i for i in epoch if 10 <= i < 30} for epoch in (first, second)]
    assert [len(half) for half in halves] == [10, 10] and halves[0] | halves[1] == set(range(10, 30))
    assert sorted(first.count(i) for i in range(30, 34)) == [2, 2, 2, 3]
    assert first != sorted(first)


def test_a_step_costs_nothing_where_there_are_many_records():
    from time import perf_counter

    sampler = StepSampler(1_000_000, 4, 2, num_steps=1000, seed=0)
    sampler.step_records(0)
    started = perf_counter()
    for step in range(100):
        sampler.step_records(step)
    assert perf_counter() - started < 0.5  # a permutation for each would take 100 times this
