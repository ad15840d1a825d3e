"""Answers to held-out prompts belong to the record at their place, whatever its id."""

from types import SimpleNamespace

from training.rewards.sampler import Sampler
from training.utils.data.record import Record, Turn


def test_records_of_one_id_get_each_its_own_answer():
    """Two files without ids both have a record 0."""
    sampler = object.__new__(Sampler)
    sampler.encoder = SimpleNamespace(decode=" ".join)

    def answer_held_out(records):
        for (
            record
        ) in records:  # as the last batch of a process without enough of them, the second does not count
            tree = SimpleNamespace(
                id=record.id, responses=[SimpleNamespace(ids=[record.turns[0].text, "yes"])]
            )
            yield [([tree], True), ([tree], False)]

    sampler.answer_held_out = answer_held_out
    records = [Record("0", "f", (), (Turn("user", text),)) for text in ("first", "second")]
    answered = sampler.answered(records)
    assert [record.responses for record in answered] == [("first yes",), ("second yes",)]
    assert [record.id for record in answered] == ["0", "0"]
