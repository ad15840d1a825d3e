"""The fuzzer of the data path, at small size; `python -m scripts.fuzz_data` runs thousands."""

import random

from scripts import fuzz_rows
from scripts.fuzz_data import FuzzConfig, main


def test_damaged_rows_and_pictures_are_read_or_refused_by_a_message(capsys):
    assert main(FuzzConfig(records=300, renamed=400, seed=1)) == 0
    assert "0 otherwise" in capsys.readouterr().out


def test_the_fuzzer_notices_a_traceback_and_blindness(monkeypatch, capsys):
    monkeypatch.setattr("training.utils.data.reader._with_markers", lambda turns, number: turns[999])
    assert main(FuzzConfig(records=20, renamed=0, seed=1)) > 0
    monkeypatch.undo()
    monkeypatch.setattr(
        fuzz_rows, "normalise", lambda row: type("Blind", (), {"images": row.get("image") or []})
    )
    monkeypatch.setattr(fuzz_rows, "ROWS", [{"image": ["a.png"]}])
    assert "blind" in {fuzz_rows.renamed_row(random.Random(0)) for _ in range(20)}
