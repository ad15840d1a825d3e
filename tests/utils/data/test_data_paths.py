"""What a path of data names, and how often its records are visited."""

import json
from types import SimpleNamespace

import pytest

from tests.conftest import load_records
from training.utils.data.entries import read_entries
from training.utils.data.record import DataError
from training.utils.loop.prepare import weighted


@pytest.mark.parametrize("pattern", ["*", "**", "**/*", "**/*.jsonl"])
def test_a_pattern_gives_each_row_once(pattern, tmp_path):
    """Also where it finds a folder, and what lies in it."""
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in ("a.jsonl", "e/b.jsonl"):
        (tmp_path / "d" / name).write_text(json.dumps({"id": name}) + "\n")
    assert sorted(entry["id"] for entry in read_entries(f"{tmp_path}/d/{pattern}")) == [
        "a.jsonl",
        "e/b.jsonl",
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["captions_train2017.json", "captions_val2017.json"], r"several splits \(train, val\)"),
        (["Train.jsonl", "Test.jsonl"], r"several splits \(test, train\)"),
        (["traindata.csv", "testset.csv"], r"several splits \(test, train\)"),
        (["a.parquet", "b.jsonl"], r"several kinds, such as a.parquet and b.jsonl; .* '.*/\*\*/\*.parquet'"),
    ],
)
def test_a_folder_of_several_things_is_not_one_data_set(names, message, tmp_path):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=message):
        read_entries(tmp_path)


def test_a_weight_that_visits_no_record_is_refused(tmp_path):
    for name, num in (("a", 3), ("b", 4)):
        rows = [{"prompt": f"{name}{i}", "completion": "x"} for i in range(num)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    path = f"{tmp_path}/a.json {tmp_path}/b.json"
    records = load_records(path, min_responses=1)
    parts = weighted(SimpleNamespace(data_path=path, data_weights=[2.0, 0.25]), records)
    assert [(part.tolist(), weight) for part, weight in parts] == [([0, 1, 2], 2.0), ([3, 4, 5, 6], 0.25)]
    with pytest.raises(
        DataError, match=r"0.1: an epoch would visit none of the 4 records of .*b.json; raise"
    ):
        weighted(SimpleNamespace(data_path=path, data_weights=[1.0, 0.1]), records)
