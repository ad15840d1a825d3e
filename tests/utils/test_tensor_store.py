"""Tensors on disk: what was added comes back, and what is damaged is named, removed and can be made anew."""

import os
import time

import pytest
import torch

from training.utils.files import tensor_store
from training.utils.files.tensor_store import DamagedFile, TensorStore


def entry(number: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    return {
        "half": torch.randn(1, 3, 8, generator=generator).to(torch.bfloat16),
        "ids": torch.arange(number, number + 4),
    }


def filled(folder, *numbers: int) -> TensorStore:
    store = TensorStore(folder)
    for number in numbers:
        store.add(str(number), entry(number))
    store.flush()
    return store


def assert_holds(store: TensorStore, *numbers: int) -> None:
    assert len(store) == len(numbers)
    for number in numbers:
        for name, tensor in store.get(str(number)).items():
            assert tensor.dtype == entry(number)[name].dtype and torch.equal(tensor, entry(number)[name])


def test_entries_come_back_bit_for_bit_here_and_elsewhere(tmp_path):
    assert_holds(filled(tmp_path, 1, 2), 1, 2)
    assert_holds(TensorStore(tmp_path), 1, 2)


def test_what_another_writes_meanwhile_is_there_after_a_refresh_and_the_same_key_twice_is_no_harm(tmp_path):
    one, other = TensorStore(tmp_path), filled(tmp_path, 2, 3)
    one.add("1", entry(1)), one.add("2", entry(2))
    assert "1" in one and "3" not in one
    one.flush()
    assert_holds(one, 1, 2, 3)
    other.refresh()
    assert_holds(other, 1, 2, 3)


def test_a_full_file_is_written_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_store, "FILE_SIZE", 100)  # an entry takes 48 + 32 bytes
    store = TensorStore(tmp_path)
    for number in range(3):
        store.add(str(number), entry(number))
    assert len(store.files) == 1 and len(TensorStore(tmp_path)) == 2


def test_a_writer_that_is_killed_leaves_nothing_that_is_read_and_its_rest_goes_after_a_day(
    tmp_path, monkeypatch
):
    def killed(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path, 1)
    (rest,) = tmp_path.iterdir()
    assert len(TensorStore(tmp_path)) == 0 and rest.exists()
    os.utime(rest, (time.time() - 2 * 86_400,) * 2)
    TensorStore(tmp_path)
    assert not rest.exists()


@pytest.mark.parametrize("length", [0, 5, 200, -8], ids=["empty", "head", "header", "end"])
def test_a_file_that_was_cut_off_is_named_and_removed_and_the_others_are_read(length, tmp_path, caplog):
    (cut,) = (tmp_path / name for name in filled(tmp_path, 1).files)
    filled(tmp_path, 2)
    cut.write_bytes(cut.read_bytes()[:length])
    assert_holds(TensorStore(tmp_path), 2)
    assert str(cut) in caplog.text and "made anew" in caplog.text and not cut.exists()
    assert_holds(filled(tmp_path, 1), 1, 2)


@pytest.mark.parametrize("place", [-1, -33], ids=["ids", "half"])
def test_a_bit_that_was_flipped_is_found_when_it_is_read(place, tmp_path):
    (file,) = (tmp_path / name for name in filled(tmp_path, 1).files)
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    store = TensorStore(tmp_path)
    with pytest.raises(DamagedFile, match=f"{file}: is damaged, and was removed; start again"):
        store.get("1")
    assert_holds(filled(tmp_path, 1), 1)


def test_of_a_part_nothing_else_is_read(tmp_path, monkeypatch):
    filled(tmp_path, 1)
    read = []
    safe_open = tensor_store.safe_open

    class Opened:
        def __init__(self, *of) -> None:
            self.file = safe_open(*of)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def get_tensor(self, name):
            read.append(name)
            return self.file.get_tensor(name)

    store = TensorStore(tmp_path)
    monkeypatch.setattr(tensor_store, "safe_open", Opened)
    assert store.part("1", "ids")["ids"].tolist() == [1, 2, 3, 4] and read == ["1/ids"]
    with pytest.raises(KeyError):
        store.part("2", "ids")
    store.add("2", entry(2))
    assert store.part("2", "ids")["ids"].tolist() == [2, 3, 4, 5] and read == ["1/ids"]


def test_a_file_that_is_gone_is_told_of_in_a_line_when_a_part_is_read(tmp_path):
    store = filled(tmp_path, 1)
    (file,) = tmp_path.glob("*.safetensors")
    file.unlink()
    with pytest.raises(DamagedFile, match=f"{file.name}: is damaged"):
        store.part("1", "ids")
