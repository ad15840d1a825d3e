"""What ends a program, in one sentence: what the writers themselves say of a disk that takes no more."""

import errno
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from tests.conftest import ROOT
from training.utils.files import jsonl
from training.utils.files.disk import keep_place
from training.utils.files.tensor_store import DamagedFile
from training.utils.process.ending import Ending, explain

LARGE = torch.zeros(10_000)
WRITERS = {
    "plain": lambda file: file.write_text("x" * 10_000),
    "safetensors": lambda file: save_file({"w": LARGE}, file),
    "lines": lambda file: jsonl.append(file, {"text": "x" * 10_000}),
    "safetensors by text": lambda file: save_file({"w": LARGE}, str(file)),
}


def write_beyond(name, file, results):
    """A limit to the size of a file stands for the end of a disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
    try:
        WRITERS[name](file)
    except Exception as error:
        ending = explain(error)
        results.put((ending.message, ending.status, ending.details))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_can_not_be_written_whole_is_one_sentence(name, tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=write_beyond, args=(name, tmp_path / "file", results))
    process.start()
    message, status, details = results.get(timeout=60)
    process.join()
    assert status == 1 and not details
    assert message.startswith(f"{tmp_path / 'file'}: ") and message.endswith("see ulimit -f, and start again")


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (errno.ENOSPC, 1, "x: the disk is full"),
        (errno.EDQUOT, 1, "x: the disk quota is used up"),
        (errno.EROFS, 1, "x: the file system is read-only"),
        (errno.EIO, 1, "x: the disk fails"),
        (errno.EMFILE, 1, "x: too many files are open"),
        (errno.ENOMEM, 1, "out of memory"),
        (errno.ENOENT, 2, "x: there is no such file or folder"),
        (errno.EISDIR, 2, "x: is a folder, and a file was expected"),
        (errno.EACCES, 2, "x: this user may not do that there"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(number, status, said):
    ending = explain(OSError(number, "some words", "x"))
    assert (ending.status, ending.details) == (status, "") and ending.message.startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "unable to write to file </torch_1_2>: No space left on device (28)",
            "/dev/shm: the disk is full; make room",
        ),
        ("unable to mmap 8 bytes from file </torch_1_2>: Cannot allocate memory (12)", "out of memory"),
        ("std::bad_alloc", "out of memory"),
        ("can't start new thread", "out of memory"),
    ],
)
def test_torch_words_them_otherwise(text, said):
    ending = explain(RuntimeError(text))
    assert said in ending.message and not ending.details


def test_a_data_worker_with_too_many_files_is_one_sentence(tmp_path):
    """The loader makes its error anew, of a text alone."""
    file = tmp_path / "another.jsonl"  # which this process is at
    try:
        raise OSError(
            "Caught OSError in DataLoader worker process 0.\nOSError: [Errno 24] Too many open files"
        )
    except OSError as error:
        assert file.name not in explain(error).message
        assert explain(error) == Ending(
            "a file: too many files are open; raise ulimit -n, and start again", 1
        )


def test_a_number_in_brackets_is_no_error_of_the_system():
    assert "RuntimeError: size (28) of a" in explain(RuntimeError("size (28) of a")).message


def refuse(file):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refuse_as_rust(file):
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("act", [refuse, refuse_as_rust])
def test_what_another_process_is_told_names_the_file_too(act, tmp_path):
    """The traceback stays behind; the name does not."""
    try:
        act(tmp_path / "log.jsonl")
    except Exception as error:
        keep_place(error)
        received = pickle.loads(pickle.dumps(error))
    assert (
        explain(received).message == f"{tmp_path / 'log.jsonl'}: the disk is full; make room, and start again"
    )


def test_what_nobody_expected_keeps_its_traceback():
    assert "Traceback" not in explain(MemoryError()).details
    try:
        raise KeyError("surprise")
    except KeyError as error:
        ending = explain(error)
    assert ending.status == 1 and "Traceback" in ending.details


def test_what_can_be_made_anew_is_one_sentence_from_a_data_worker_too():
    damaged = DamagedFile("f.safetensors: is damaged, and was removed; start again")
    wrapped = DamagedFile(
        f"Caught DamagedFile in DataLoader worker process 0.\nTraceback: ...\nDamagedFile: {damaged}"
    )
    for error in (damaged, wrapped):
        assert explain(error) == Ending(str(damaged), 1)


def test_what_nobody_expected_is_told_without_loading_what_only_training_needs():
    """Loading may fail, and would hide what happened."""
    program = "import sys; from training.utils.process.ending import explain; print(explain(KeyError('a')).message); "
    program += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["KeyError: 'a'", "False"], done.stderr
