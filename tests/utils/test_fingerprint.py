"""A fingerprint changes with the content, the size and the names of files, and with nothing else."""

import hashlib
import shutil

import pytest

from training.utils.files.fingerprint import BLOCK, WHOLE, files_fingerprint


def test_fingerprint_of_a_small_file_by_hand(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(b"[1]")
    expected = hashlib.sha256(b"a.json\x003\x00" + hashlib.sha256(b"[1]").digest()).hexdigest()
    assert files_fingerprint(file) == files_fingerprint([str(file)]) == expected


def test_what_changes_a_fingerprint(tmp_path):
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.json").write_text("[1]")
    (folder / "b.json").write_text("[2]")
    before = files_fingerprint(folder)

    shutil.copytree(folder, tmp_path / "moved")
    assert files_fingerprint(tmp_path / "moved") == before, "where the folder stands is no part of it"
    (folder / "deep" / "a.json").write_text("[3]")
    assert files_fingerprint(folder) != before, "same size, other content"
    (folder / "deep" / "a.json").write_text("[1]")
    assert files_fingerprint(folder) == before, "the time of a file is no part of it"
    (folder / "deep" / "a.json").rename(folder / "deep" / "c.json")
    assert files_fingerprint(folder) != before, "another name"
    one, two = folder / "b.json", folder / "deep" / "c.json"
    assert files_fingerprint([one, two]) != files_fingerprint([two, one]), (
        "records keep the order of their files"
    )
    with pytest.raises(FileNotFoundError, match="gone"):
        files_fingerprint(tmp_path / "gone")


def test_a_large_file_is_read_in_blocks(tmp_path):
    file = tmp_path / "large.parquet"
    size = WHOLE + 100 * BLOCK  # sparse: takes no room on the disk

    def fingerprint(place: int | None = None, size: int = size) -> str:
        with file.open("wb") as opened:
            opened.truncate(size)
            if place is not None:
                opened.seek(place)
                opened.write(b"x")
        return files_fingerprint(file)

    zeros = fingerprint()
    assert fingerprint() == zeros
    assert fingerprint(size=size + 1) != zeros, "a byte more"
    assert fingerprint(0) != zeros and fingerprint(size - 1) != zeros, "the first and the last byte"
    middle = 31 * (size - BLOCK) // 63 + BLOCK // 2
    assert fingerprint(middle) != zeros, "a byte of a block in between"
