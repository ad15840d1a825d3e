"""Files to entries: every kind of file gives what it holds, and a bad one a sentence."""

import gzip
import json
import os
import shutil

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import picture
from training.utils.data import entries, json_rows
from training.utils.data.entries import paths_of, read_entries
from training.utils.data.record import DataError

ROWS = [
    {"id": "a", "text": "1\u20282"},
    {"id": "b", "text": 'quoted "x", é'},
    {"id": "c", "list": [1, {"d": None}]},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)

WRITTEN = {  # the same rows, as files spell them
    "rows.json": json.dumps(ROWS),
    "rows.txt": json.dumps(ROWS, indent=1, ensure_ascii=False),
    "rows.jsonl": LINES,
    "crlf.jsonl": LINES.replace("\n", "\r\n"),
    "blank.jsonl": "\n" + LINES.replace("\n", "\n \n"),
    "mark.jsonl": "\ufeff" + LINES,
    "mark.json": "\ufeff" + json.dumps(ROWS),
    "wrapped.json": json.dumps({"data": ROWS}),
    "wrapped_lines.json": json.dumps({"version": 1, "data": ROWS}, indent=2),
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_json_in_every_spelling_gives_its_entries(name, zipped, block, tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "BLOCK_BYTES", block)
    content = WRITTEN[name].encode()
    file = tmp_path / (name + ".gz" * zipped)
    file.write_bytes(gzip.compress(content) if zipped else content)
    found = read_entries(file)
    assert list(found) == ROWS and found.where(1) == f"{file}[1]"


@settings(deadline=None)
@given(
    st.lists(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)),
    st.integers(1, 9),
)
def test_a_list_that_is_read_in_pieces_is_the_list(values, block):
    from tempfile import TemporaryDirectory

    before, json_rows.BLOCK_BYTES = json_rows.BLOCK_BYTES, block
    try:
        with TemporaryDirectory() as folder:
            file = entries.Path(folder) / "x.json"
            file.write_text(json.dumps(values, ensure_ascii=False, indent=block % 2 or None))
            assert list(read_entries(file)) == values
    finally:
        json_rows.BLOCK_BYTES = before


def test_captions_of_coco_are_an_entry_each(tmp_path):
    document = {
        "info": {"year": 2014},
        "images": [{"id": 7, "file_name": "COCO_val2014_000000000007.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 7, "caption": "A dog."},
            {"id": 2, "image_id": 7, "caption": "A pet."},
        ],
    }
    (tmp_path / "captions_val2014.json").write_text(json.dumps(document))
    found = list(read_entries(tmp_path / "captions_val2014.json"))
    assert [(entry["image"], entry["caption"]) for entry in found] == [
        ("COCO_val2014_000000000007.jpg", "A dog."),
        ("COCO_val2014_000000000007.jpg", "A pet."),
    ]


def test_one_object_over_several_lines_is_one_entry(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(ROWS[2], indent=2))
    assert list(read_entries(tmp_path / "one.json")) == [ROWS[2]]


@pytest.mark.parametrize(("suffix", "sign"), [("csv", ","), ("tsv", "\t"), ("csv.gz", ",")])
def test_cells_of_a_table_are_text_or_json(suffix, sign, tmp_path):
    lines = [
        ["question", "answer", "images"],
        ["Is it 5?", "NA", '"[""a.png"", ""b.png""]"'],
        ["What?", "5", ""],
    ]
    content = ("\ufeff" + "\r\n".join(sign.join(line) for line in lines)).encode()
    file = tmp_path / f"rows.{suffix}"
    file.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    assert list(read_entries(file)) == [
        {"question": "Is it 5?", "answer": "NA", "images": ["a.png", "b.png"]},
        {"question": "What?", "answer": "5", "images": None},
    ]


def test_a_line_that_does_not_parse_is_one_bad_entry_with_its_line(tmp_path):
    file = tmp_path / "rows.jsonl"
    long = b'{"e": ' + b"[" * 100_000 + b'\n{"f": ' + b"9" * 5000
    file.write_bytes(b'{"a": 1}\n\n{"b": \n{"c": "caf\xe9"}\n{"d": 4}\n' + long)
    found = read_entries(file)
    assert found[0] == {"a": 1} and found[3] == {"d": 4}
    for place, message in (
        (1, r"rows.jsonl\[1\]: does not parse as JSON at line 3: Expecting value"),
        (2, r"at line 4: byte 0xe9 is no UTF-8"),
        (4, "at line 6: (nested too deeply|Expecting value)"),
        (5, "at line 7: "),
    ):
        with pytest.raises(DataError, match=message):
            found[place]


BAD = {
    "a list that ends too early": (b'[\n{"a": 1},\n{"b"', r"x.json: does not parse as JSON at line 3: "),
    "a comma too many": (b'[{"a": 1},]', "does not parse as JSON at line 1: Expecting value"),
    "text behind the list": (b'[{"a": 1}]\n\n[]', "does not parse as JSON at line 3: Extra data"),
    "UTF-16": (json.dumps(ROWS).encode("utf-16"), "is UTF-16; expected UTF-8; convert it"),
    "Latin-1": ('[\n{"a": "café"}]'.encode("latin-1"), r"is no UTF-8 behind line \d+ \(byte 0xe9"),
    "nested a thousand times": (b"[" * 100_000, "does not parse as JSON at line 1: nested too deeply"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_one_sentence(case, tmp_path):
    content, message = BAD[case]
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_entries(tmp_path / "x.json"))


def test_a_table_with_a_cell_too_many_names_its_line(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match="x.csv: line 3 has not as many cells as the 2 of the first line"):
        read_entries(tmp_path / "x.csv")


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_damaged_data_set_gets_one_sentence(damage, suffix, tmp_path):
    table = datasets.Dataset.from_list([{"text": str(i) * 100} for i in range(200)])
    file = tmp_path / f"x.{suffix}"
    if suffix == "parquet":
        table.to_parquet(str(file))
    else:
        table.save_to_disk(str(tmp_path / "saved"))
        shutil.copy(next((tmp_path / "saved").glob("*.arrow")), file)
        assert list(read_entries(file)) == list(table)  # whole it is read
    content = file.read_bytes()
    file.write_bytes({"cut": content[: len(content) // 2], "garbage": b"x" * 999, "empty": b""}[damage])
    with pytest.raises(DataError, match=f"x.{suffix}: can't be read as a data set"):
        read_entries(file)


def test_a_saved_data_set_that_lacks_a_file_gets_one_sentence(tmp_path):
    datasets.Dataset.from_list([{"text": "x"}]).save_to_disk(str(tmp_path / "saved"))
    next((tmp_path / "saved").glob("*.arrow")).unlink()
    with pytest.raises(DataError, match="can't be read as a data set"):
        read_entries(tmp_path / "saved")


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DataError, match="is no regular file"):
        read_entries(tmp_path / "pipe.json")


def test_pictures_of_a_data_set_stay_compressed(tmp_path):
    features = datasets.Features(one=datasets.Image(), some=datasets.List(datasets.Image()))
    table = datasets.Dataset.from_dict(
        {"one": [picture()], "some": [[picture(1), picture(2)]]}, features=features
    )
    table.to_parquet(str(tmp_path / "x.parquet"))
    (row,) = read_entries(tmp_path / "x.parquet")
    assert all(part["bytes"].startswith(b"\x89PNG") for part in (row["one"], *row["some"]))


def test_shards_of_a_folder_come_in_the_order_of_their_names_without_strays(tmp_path):
    for number in (1, 0):
        (tmp_path / f"part-{number}.jsonl").write_text(json.dumps({"n": number}))
    (tmp_path / "._part-0.jsonl").write_text("of another system")
    (tmp_path / "README.md").write_text("words")
    assert [entry["n"] for entry in read_entries(tmp_path)] == [0, 1]


def test_a_folder_of_several_splits_is_refused_and_a_pattern_names_one(tmp_path):
    for name in ("train-0", "train-1", "test-0"):
        datasets.Dataset.from_list([{"name": name}]).to_parquet(str(tmp_path / "data" / f"{name}.parquet"))
    with pytest.raises(DataError, match=r"holds several splits \(test, train\); name the files of one"):
        read_entries(tmp_path)
    assert [entry["name"] for entry in read_entries(f"{tmp_path}/**/train*")] == ["train-0", "train-1"]


def test_several_paths_are_one_after_the_other(tmp_path):
    (tmp_path / "a b.json").write_text(json.dumps(ROWS[:1]))
    (tmp_path / "c.json").write_text(json.dumps(ROWS[1:]))
    assert paths_of(tmp_path / "a b.json") == [tmp_path / "a b.json"]  # a name with a space is a name
    (tmp_path / "a.json").write_text(json.dumps(ROWS[:1]))
    found = read_entries(f"{tmp_path}/a.json {tmp_path}/c.json")
    assert list(found) == ROWS and [found.shard(i).source for i in range(3)] == [0, 1, 1]
    with pytest.raises(DataError, match="d.json: no such file; set --data_path"):
        read_entries(f"{tmp_path}/a.json {tmp_path}/d.json")


def test_a_large_file_is_converted_once_and_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "IN_MEMORY_BYTES", 0)
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(ROWS))
    assert list(read_entries(file)) == ROWS
    monkeypatch.setattr(entries, "write_rows", None)  # what is kept is found: nothing is written
    assert list(read_entries(file)) == ROWS
    monkeypatch.undo()
    monkeypatch.setattr(entries, "IN_MEMORY_BYTES", 0)
    changed = [*ROWS[:2], {"id": "d"}]
    file.write_text(json.dumps(changed))
    assert list(read_entries(file)) == changed


def test_a_zipped_file_that_is_cut_off_is_refused(tmp_path):
    whole = gzip.compress(LINES.encode())
    for content in (whole[:-12], whole[:5], whole[:-8] + b"checksum"):
        (tmp_path / "rows.jsonl.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"rows.jsonl.gz: is no whole gzip file \(.*\); copy it again"):
            read_entries(tmp_path / "rows.jsonl.gz")


def test_a_column_that_is_named_twice_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("image,image,prompt\na.png,,q\n")
    with pytest.raises(DataError, match="the first line names `image` twice"):
        read_entries(tmp_path / "rows.csv")
