"""The table and curve of rounds."""

import json

import pytest

from eval.provenance import provenance
from eval.rounds import RoundsConfig, main, read_rows
from training.utils.data.record import DataError


@pytest.fixture
def folder(tmp_path):
    for number, records in ((1, 10), (2, 8)):
        (tmp_path / f"round-{number}" / "model").mkdir(parents=True)
        summary = {"records": records, "score_of_all": number / 2, "words_of_all": 6 * number}
        (tmp_path / f"round-{number}" / "train.summary.json").write_text(json.dumps(summary))
    measured = tmp_path / "round-1" / "model"
    drift = {
        "kl": {"mean": 2.0, "standard_error": 0.1},
        "reward": {"mean": 1.5, "standard_error": None},
        "n": 2,
    }
    (measured / "drift.json").write_text(json.dumps(drift))
    (measured / "drift.jsonl").write_text(json.dumps({"id": "a", "responses": ["a b c", "a"]}) + "\n")
    truth = {
        "bench": "chair",
        "metrics": {"CHAIR_i": 12.5, "words": 2.0},
        "intervals": {"CHAIR_i": [10.0, 15.0]},
        "predictions": provenance(str(measured / "drift.jsonl"), [])["predictions"],
    }
    (measured / "truth.json").write_text(json.dumps(truth))
    return tmp_path


def test_a_row_is_a_model_with_what_is_known_of_it(folder, capsys):
    main(RoundsConfig(str(folder), 2))
    assert (folder / "rounds.png").stat().st_size > 5000
    assert capsys.readouterr().out.splitlines() == [
        "| model | learned from | reward of samples | words of samples | reward | KL to start, nats | words "
        "| chair CHAIR_i |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| start |  | 0.5 | 6 |  |  |  |  |",
        "| round 1 | 10 | 1 | 12 | 1.5 | 2 [1.8, 2.2] | 2 | 12.5 [10, 15] |",
        "| round 2 | 8 |  |  |  |  |  |  |",
    ]
    found = json.loads((folder / "rounds.json").read_text())
    assert (
        found[1]["kl"] == 2
        and found[1]["chair CHAIR_i"] == 12.5
        and found[2] == {"model": "round 2", "records": 8}
    )


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no round-1"):
        main(RoundsConfig(str(tmp_path), 1))


def test_a_score_of_other_answers_does_not_stand_beside_these(folder, capsys):
    row = read_rows(folder, 2)[1]
    (folder / "round-1" / "model" / "drift.jsonl").write_text(
        json.dumps({"id": "a", "responses": ["b"]}) + "\n"
    )
    assert "chair CHAIR_i" in row.figures and "chair CHAIR_i" not in read_rows(folder, 2)[1].figures
    assert "truth.json: is of other answers than drift.jsonl; left out" in capsys.readouterr().out
