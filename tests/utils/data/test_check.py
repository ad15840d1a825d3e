"""The check before a run: what it finds does not depend on who looks, is kept, and nothing odd ends it."""

import json
import logging

import numpy as np
import pytest

from tests.conftest import SAMPLES, load_records, picture
from training.utils.data import check as checks
from training.utils.data.check import check, describe
from training.utils.data.encode import Encoder
from training.utils.data.entries import Entries, Shard, read_entries
from training.utils.data.failures import Failure, reasons, settle
from training.utils.data.loader import Data, Trees, eval_batches, step_batches
from training.utils.data.look import Inspector, look
from training.utils.data.reader import Reader
from training.utils.data.record import DataError
from training.utils.data.sampler import StepSampler
from training.utils.loop.image_effect import of_one_kind


def conversation(question="What?", answer="A dog.", **more):
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"conversations": turns, **more}


@pytest.fixture
def write(tmp_path):
    def written(*entries, name="data.json"):
        picture().save(tmp_path / "good.png")
        (tmp_path / name).write_text(json.dumps(entries))
        return tmp_path / name

    return written


def seen(verdict):
    return verdict.places.tolist(), verdict.facts.tolist(), verdict.failures


def test_several_processes_find_what_one_finds(write, encoder, monkeypatch):
    monkeypatch.setattr("training.utils.data.look.CHUNK", 7)
    bad = [conversation(answer=""), conversation(image="none.png"), ["odd"]]
    file = write(*[conversation(image="good.png", id=str(i)) for i in range(40)], *bad)
    entries, reader = read_entries(file), Reader(min_responses=1)
    places = np.arange(len(entries))
    alone, shared = (look(entries, places, reader, Inspector(encoder), num_workers=n) for n in (1, 3))
    assert seen(alone) == seen(shared)
    assert alone.places.tolist() == list(range(40)) and [each.source[-4:] for each in alone.failures] == [
        "[40]", "[41]", "[42]",
    ]  # fmt: skip


class Odd(Reader):
    def read(self, entries, place):
        if place == 1:
            raise KeyError("odd")
        return super().read(entries, place)


def test_whatever_goes_wrong_with_an_entry_is_one_failure(write):
    entries = read_entries(write(conversation(), conversation(id="b\ud83d"), conversation()))
    verdict = look(entries, np.arange(3), Odd(min_responses=1), Inspector(), 1)
    assert verdict.places.tolist() == [0, 2]
    (found,) = verdict.failures
    assert (
        found.reason == "KeyError: 'odd'" and found.id == "b\\ud83d" and found.source.endswith("data.json[1]")
    )


def test_failures_end_the_run_or_are_told_by_reason_and_count(tmp_path, caplog):
    failures = [Failure(f"f[{i}]", "", f"image '{i}.png' is not in x; found {i} of 10") for i in range(30)]
    failures += [Failure("f[30]", "a7", "a response is empty")]
    assert [count for _, count in reasons(failures).most_common()] == [30, 1]
    listed = tmp_path / "failed.jsonl"
    with pytest.raises(
        DataError, match=r"31 of 99 records can't be used; .*failed.jsonl lists them; the first: f\[0\]"
    ):
        settle(failures, 99, skip=False, file=listed)
    assert len(listed.read_text().splitlines()) == 31
    with caplog.at_level(logging.WARNING):
        settle(failures, 99, skip=True)
    assert "skipped 31 of 99 records" in caplog.text
    assert (
        "30 x image '...' is not in x; found N of N" in caplog.text
        and "1 x a response is empty" in caplog.text
    )
    with pytest.raises(DataError, match="no usable record among 31"):
        settle(failures, 31, skip=True)
    settle([], 5, skip=False, file=listed)
    assert not listed.exists()


def test_what_was_found_is_read_again_until_something_changes(write, tiny_llava, encoder, monkeypatch):
    monkeypatch.setattr(checks, "KEPT_ABOVE", 0)
    file = write(conversation(), conversation(answer=""), conversation(image="good.png"))
    looked = []
    monkeypatch.setattr(checks, "look", lambda *args: looked.append(1) or look(*args))

    def found(encoder=encoder, needs=1, how="full"):
        entries = read_entries(file)
        places = np.arange(len(entries))
        verdict = check(str(file), entries, places, Reader(needs), Inspector(encoder, how))
        return len(looked), seen(verdict)

    first = found()
    assert first[0] == 1 and first[1][0] == [0, 2]
    assert found() == first  # kept, the failure too
    assert found(needs=2)[0] == 2
    assert found(how="header")[0] == 3
    shorter = Encoder(encoder.processor, encoder.family, "auto", encoder.max_seq_len - 1)
    assert found(shorter)[0] == 4
    other_template = Encoder(encoder.processor, encoder.family, "vicuna", encoder.max_seq_len)
    assert found(other_template)[0] == 5
    write(conversation(), conversation(), conversation(image="good.png"))
    assert found() == (6, ([0, 1, 2], found()[1][1], []))


def test_the_start_tells_how_many_records_have_pictures(write, capsys):
    file = write(
        conversation(), conversation(image="good.png"), conversation(image=["good.png", "good.png"], id="x")
    )
    load_records(file, min_responses=1)
    assert "3 records: 2 with 3 pictures, 1 text only" in capsys.readouterr().out


def test_lines_about_what_is_cut_come_only_where_something_is(encoder, write):
    entries = read_entries(write(conversation()))
    verdict = look(entries, np.arange(1), Reader(1), Inspector(encoder), 1)
    assert describe(verdict).count("\n") == 0


# -- while a run goes on ---------------------------------------------------------------------------------


@pytest.fixture
def vanishing(write, encoder, tmp_path):
    """Six records with a picture each, of which those of 2 and 3 vanish after the check."""
    for number in range(6):
        picture(number).save(tmp_path / f"{number}.png")
    file = write(*[conversation(image=f"{i}.png", id=str(i)) for i in range(6)])
    records = load_records(file, min_responses=1)
    for number in (2, 3):
        (tmp_path / f"{number}.png").unlink()
    return records


def test_a_record_that_can_not_be_read_any_more_is_replaced_by_the_next_that_can(vanishing, encoder):
    trees, failures = Trees(vanishing, encoder.encode_all).__getitems__([1, 2, 5])
    assert [tree.id for tree in trees] == ["1", "4", "5"]
    assert [each.source[-3:] for each in failures] == ["[2]", "[3]"]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_run_stops_at_it_or_goes_on_and_counts_it(vanishing, encoder, num_workers):
    def data(skips_bad):
        sampler = StepSampler(6, per_device=6, accumulation=1, num_steps=1, seed=0)
        return Data(vanishing, vanishing[:0], sampler, encoder, encoder.encode_all, skips_bad)

    with pytest.raises(DataError, match=r"image '2.png' is not in|image '3.png' is not in"):
        list(step_batches(data(False), packing=False, num_workers=num_workers))
    skipping = data(True)
    ((batch,),) = step_batches(skipping, packing=False, num_workers=num_workers)
    assert sorted(batch.ids) == ["0", "1", "4", "4", "4", "5"]
    assert {each.reason.split("'")[1] for each in skipping.failures} == {"2.png", "3.png"}


def test_an_evaluation_stops_at_it_or_goes_on_too(vanishing, encoder):
    with pytest.raises(DataError, match=r"data.json\[2\]: image '2.png' is not in .* --on_bad_record skip"):
        list(eval_batches(vanishing, encoder, 4))
    batches = list(eval_batches(vanishing, encoder, 4, skips_bad=True))
    assert [batch.ids for batch, _ in batches] == [["0", "1", "4", "4"], ["4", "5"]]
    assert [record.id for record in of_one_kind(vanishing)] == ["0", "1", "4", "5"]


def test_lazy_records_are_the_eager_ones(encoder):
    for file in sorted(SAMPLES.glob("*.json")):
        records = load_records(file, min_responses=0)
        eager = [
            Reader().record(entry, f"{file}[{i}]", file.parent)
            for i, entry in enumerate(json.loads(file.read_text()))
        ]
        assert list(records) == eager and list(records[1:]) == eager[1:]


def test_entries_of_memory_are_entries(tmp_path):
    entries = Entries([Shard("a", [1, 2], tmp_path, 0), Shard("b", [3], tmp_path, 1)])
    assert list(entries) == [1, 2, 3] and entries.where(2) == "b[0]"
    with pytest.raises(IndexError):
        entries[3]
