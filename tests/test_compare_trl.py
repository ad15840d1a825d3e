"""What `scripts/compare_trl.py` compares on, without TRL."""

import pytest

from scripts.compare_trl_case import NUM_STEPS, PROMPTS, Case, settings_for
from scripts.compare_trl_cases import CASES
from scripts.compare_trl_ours import MicroBatches, write_records

ANSWERS = {"single": 1, "labelled": 1, "ranked": 2, "text": 2, "sampled": 4}


@pytest.fixture
def micro_batches(tiny_llava, tmp_path):
    """Of a case, with the records that `compare_trl.py` writes."""
    model = tmp_path / "tiny"
    model.symlink_to(tiny_llava)
    write_records(tmp_path, NUM_STEPS * PROMPTS)

    def of(case: Case) -> MicroBatches:
        _, flags = settings_for(case, model, tmp_path / "run")
        return MicroBatches(flags)

    return of


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


# Of those that read alike, one.
READING = {(case.records, case.accumulation, case.updates): case for case in CASES}.values()


def test_each_loss_is_asked_for_on_both_sides(tmp_path):
    assert len({(case.name, case.trainer) for case in CASES}) == len(CASES)
    for case in CASES:
        theirs, ours = settings_for(case, tmp_path / "tiny", tmp_path / "run")
        assert theirs["max_steps"] == NUM_STEPS == ours.max_steps * case.updates


@pytest.mark.parametrize("case", READING, ids=lambda case: f"{case.name} {case.trainer}")
def test_each_loss_gets_new_records_in_each_of_its_steps(micro_batches, case):
    batches = micro_batches(case)
    records = [record for records in batches.records for record in records]
    assert len(records) == len({record.id for record in records}) == NUM_STEPS * PROMPTS // case.updates
    assert {len(micro_batch) for micro_batch in batches.records} == {PROMPTS // case.accumulation}
    assert {len(record.responses) for record in records} == {ANSWERS[case.records]}
    assert {len(record.images) for record in records} == {int(case.records != "text")}


def test_labelled_records_are_of_both_kinds(micro_batches):
    records = [record for records in micro_batches(named("kto")).records for record in records]
    assert {record.scores for record in records} == {(0.0,), (1.0,)}
