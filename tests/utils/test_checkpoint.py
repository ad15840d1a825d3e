"""A checkpoint proves itself; a damaged or foreign one is named and passed over."""

import builtins
import errno
import hashlib
import io
import json
import os
import shutil

import pytest

from training.utils.checkpoint.manifest import MANIFEST, write_manifest
from training.utils.checkpoint.publish import link
from training.utils.checkpoint.states import checkpoints, newest_whole, remove, surplus, tidy
from training.utils.files import jsonl

FILES = ("model.safetensors", "config.json", "state/engine-0-00.safetensors", "state/run.json")


@pytest.fixture
def output(tmp_path):
    """Checkpoints of the steps 2, 10 and 9."""
    for step in (2, 10, 9):
        folder = tmp_path / f"checkpoint-{step}"
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(f"{name} of step {step}".encode())
        write_manifest(folder)
    return tmp_path


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def empty(file):
    file.write_bytes(b"")


def zero(file):
    file.write_bytes(bytes(file.stat().st_size))


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("file", [*FILES, MANIFEST])
@pytest.mark.parametrize("harm", [cut, empty, zero, flip, lambda file: file.unlink()])
def test_any_damage_is_seen_and_the_newest_whole_one_is_taken(harm, file, output, capsys):
    assert newest_whole(output).name == "checkpoint-10" and capsys.readouterr().out == ""
    harm(output / "checkpoint-10" / file)
    if file != MANIFEST or harm not in (cut, flip):  # its last byte is a line's end; a flip may be in a space
        assert newest_whole(output).name == "checkpoint-9"
        told = capsys.readouterr().out
        assert f"checkpoint-10: {'holds no manifest' if file == MANIFEST else file}" in told
        assert told.endswith("; passed over\n")


def test_foreign_folders_are_named_and_passed_over(output, capsys):
    for name in ("checkpoint-old", "checkpoint-11.bak", "checkpoint-12"):
        shutil.copytree(output / "checkpoint-2", output / name)
    shutil.rmtree(output / "checkpoint-12" / "state")  # a model alone
    assert newest_whole(output).name == "checkpoint-10"
    told = capsys.readouterr().out
    assert all(f"{name}: is no checkpoint of a run; passed over" in told for name in ("old", "11.bak", "12"))
    assert [folder.name for folder in checkpoints(output)] == [
        "checkpoint-2",
        "checkpoint-9",
        "checkpoint-10",
    ]


def test_what_is_half_removed_is_no_checkpoint_and_is_tidied_up(output, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
        remove(output / "checkpoint-2")
    assert [folder.name for folder in checkpoints(output)] == ["checkpoint-9", "checkpoint-10"]
    (output / ".checkpoint-11.partial").mkdir()
    tidy(output)
    assert {folder.name for folder in output.iterdir()} == {"checkpoint-9", "checkpoint-10"}


def test_a_file_that_a_disk_can_not_read_any_more_is_damage(output, monkeypatch, capsys):
    digest = hashlib.file_digest

    def worn(opened, name):
        if opened.name == str(output / "checkpoint-10" / FILES[2]):
            raise OSError(errno.EIO, "Input/output error")
        return digest(opened, name)

    monkeypatch.setattr(hashlib, "file_digest", worn)
    assert newest_whole(output).name == "checkpoint-9"
    told = f"checkpoint-10: {FILES[2]} can not be read: Input/output error; passed over"
    assert told in capsys.readouterr().out


def test_what_was_just_written_stays_where_a_later_one_was_passed_over(output):
    """Of the steps 2, 9 and 10, the last one damaged: a run goes on from 2, and comes to 9 again."""

    def names(step, limit):
        return [checkpoint.name for checkpoint in surplus(output, step, limit)]

    assert names(9, 1) == ["checkpoint-2"]
    assert names(9, 2) == []
    assert names(10, 1) == ["checkpoint-2", "checkpoint-9"]
    assert names(10, 2) == ["checkpoint-2"]
    assert names(10, 0) == []


@pytest.mark.parametrize("reason", [None, errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_weights_are_shared_where_the_disk_can_and_what_a_person_may_edit_is_not(reason, output, monkeypatch):
    def refuse(*_):
        raise OSError(reason, os.strerror(reason))

    if reason:
        monkeypatch.setattr(os, "link", refuse)
    model = output / "checkpoint-2"
    link(model, output / "copy")
    copied = [output / "copy" / name for name in FILES]
    assert [file.read_bytes() for file in copied] == [(model / name).read_bytes() for name in FILES]
    shared = [name for name, file in zip(FILES, copied, strict=True) if file.samefile(model / name)]
    assert shared == ([] if reason else [FILES[0], FILES[2]])
    shutil.rmtree(output / "copy")
    assert newest_whole(output).name == "checkpoint-10" and (model / FILES[0]).is_file()


def test_a_log_with_damaged_lines_is_mended(tmp_path, caplog):
    file = tmp_path / "log.jsonl"
    lines = [json.dumps({"step": step}) for step in (1, 2, 3)]
    file.write_bytes(
        "\n".join([lines[0], "garbage", "[1]", lines[1]]).encode() + b"\n\xff\xfe\n" + lines[2][:5].encode()
    )
    jsonl.cut_after(file, 2)
    assert file.read_text() == f"{lines[0]}\n{lines[1]}\n"
    assert "lines 2, 3, 5 are no JSON objects and are left out" in caplog.text


def test_a_line_that_was_cut_off_is_dropped_where_a_full_disk_takes_nothing(tmp_path, monkeypatch):
    file = tmp_path / "answers.jsonl"
    file.write_text('{"id": "a"}\n{"id": "b", "resp')
    monkeypatch.setattr(io, "open", lambda file, mode="r", *_, **__: _read_only(file, mode))
    jsonl.mend(file)
    assert file.read_bytes() == b'{"id": "a"}\n'


def _read_only(file, mode):
    if "w" in mode:
        raise OSError(errno.ENOSPC, "No space left on device")
    return builtins.open(file, mode)
