"""What a save leaves: nothing twice, no code, each file proved; written while training goes on."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT, SAMPLES
from tests.stages.conftest import log, weights
from tests.utils.test_checkpoint import cut, empty, flip, zero
from training.sft.train_sft import main as train_sft
from training.utils.checkpoint import manifest, publish, run
from training.utils.checkpoint.background import Background, saving
from training.utils.checkpoint.manifest import MANIFEST, collect_reports, damage, report, write_manifest
from training.utils.checkpoint.states import newest_whole
from training.utils.config.stage_config import SFTConfig
from training.utils.data.record import DataError
from training.utils.files.model_folder import resolve_checkpoint

KINDS = {
    "fp32": {},
    "bf16": {"precision": "bf16", "zero_stage": 2},
    "LoRA": {"lang_lora_dim": 4, "lang_decoder_update": False},
}


def settings(model, data, output, **more) -> dict:
    """Steps of two records of four, a checkpoint after each: an epoch ends after the second."""
    shared = {
        "from_checkpoint": str(model),
        "data_path": str(SAMPLES / data),
        "dataset_samples": "4",
        "data_train_split_ratio": 1.0,
        "output_dir": str(output),
        "per_device_train_batch_size": 2,
        "lang_decoder_update": True,
        "precision": "fp32",
        "save_step": 1,
        "learning_rate": 1e-3,
    }
    return shared | more


def sft(model, output, **more) -> None:
    """Three steps: an epoch ends after the second, with a checkpoint, and after the third."""
    train_sft(SFTConfig(**settings(model, "sft.json", output, **{"max_steps": 3} | more)))


@pytest.fixture(scope="module", params=KINDS)
def done(request, tiny_llava, tmp_path_factory):
    output = tmp_path_factory.mktemp("saving") / "out"
    torch.manual_seed(0)  # of the adapters
    sft(tiny_llava, output, **KINDS[request.param])
    return request.param, output


def files(folder):
    return {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}


def test_a_checkpoint_holds_what_is_needed_once(done, tiny_llava):
    kind, output = done
    held = files(output / "checkpoint-2")
    assert not [name for name in held if not name.endswith((".json", ".safetensors", ".jinja"))]
    sizes = {name: file.stat().st_size for name, file in held.items() if name.endswith(".safetensors")}
    num_weights = sum(tensor.numel() for tensor in load_file(tiny_llava / "model.safetensors").values())
    tower = load_file(tiny_llava / "model.safetensors").items()
    frozen = sum(tensor.numel() for name, tensor in tower if "vision_tower" in name)
    trained = num_weights - frozen
    if (
        kind == "LoRA"
    ):  # of 4 rows and columns at each linear layer, and the projector: master and two moments
        adapted = load_file(output / "epoch-0" / "model.safetensors")
        layers = [
            t for name, t in adapted.items() if ".layers." in name and "language" in name and t.ndim == 2
        ]
        projector = sum(t.numel() for name, t in adapted.items() if "projector" in name)
        trained = sum(4 * sum(layer.shape) for layer in layers) + projector
    expected = {
        "fp32": 4 * num_weights + 8 * trained,
        "bf16": 2 * num_weights + 12 * trained,
        "LoRA": 12 * trained,
    }
    headers = 40_000  # names and places of tensors
    assert expected[kind] < sum(sizes.values()) < expected[kind] + headers
    assert ("model.safetensors" in sizes) == (kind != "LoRA")


def test_the_model_that_ends_an_epoch_is_written_once(done):
    kind, output = done
    epoch, checkpoint = files(output / "epoch-0"), files(output / "checkpoint-2")
    shared = {name for name in epoch if name in checkpoint and epoch[name].samefile(checkpoint[name])}
    assert shared == (set() if kind == "LoRA" else {"model.safetensors"})
    assert not damage(output / "epoch-0") and not damage(output / "checkpoint-2")


def test_it_goes_on_bit_for_bit_and_tells_how_long_it_waited(done, tiny_llava, tmp_path, monkeypatch):
    kind, output = done
    (output / "checkpoint-1" / "state" / "engine.pt").write_bytes(
        b"cos\nsystem\n(S'exit 1'\ntR."
    )  # a planted pickle
    monkeypatch.setattr(torch, "load", None)
    sft(tiny_llava, tmp_path / "again", resume=str(output / "checkpoint-1"), **KINDS[kind])
    expected, found = weights(output), weights(tmp_path / "again")
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert ["save_stall_s" in line for line in log(output)] == [False, True, True]
    assert [line["loss"] for line in log(output)][1:] == [line["loss"] for line in log(tmp_path / "again")]


@pytest.mark.parametrize("harm", [cut, empty, zero, flip, Path.unlink])
def test_damage_to_any_file_of_a_checkpoint_is_seen(harm, done, tmp_path, capsys):
    shutil.copytree(done[1] / "checkpoint-2", tmp_path / "checkpoint-2")
    for name, file in files(tmp_path / "checkpoint-2").items():
        whole = file.read_bytes()
        harm(file)
        if name != MANIFEST or harm not in (
            cut,
            flip,
        ):  # its last byte is a line's end; a flip may be in a space
            assert newest_whole(tmp_path) is None, name
            told = capsys.readouterr().out
            assert f"checkpoint-2: {'holds no manifest' if name == MANIFEST else name}" in told
        file.write_bytes(whole)
    assert newest_whole(tmp_path)


def test_where_memory_is_short_the_same_is_written_at_once(done, tiny_llava, tmp_path, monkeypatch):
    kind, output = done
    monkeypatch.setattr(run, "free_memory", lambda: 0)
    torch.manual_seed(0)
    sft(tiny_llava, tmp_path / "short", max_steps=3, **KINDS[kind])
    for name, file in files(output / "checkpoint-2").items():
        if name.endswith(".safetensors"):
            assert file.read_bytes() == (tmp_path / "short" / "checkpoint-2" / name).read_bytes(), name


def test_a_checkpoint_of_adapters_is_no_model_and_its_run_has_one(tiny_llava, tmp_path):
    torch.manual_seed(0)
    sft(tiny_llava, tmp_path, **KINDS["LoRA"])
    (tmp_path / "latest").write_text("checkpoint-2\n")
    shutil.copytree(tmp_path / "epoch-0", tmp_path / "epoch-0.bak")
    shutil.copytree(tmp_path / "epoch-0", tmp_path / "epoch-older")
    assert resolve_checkpoint(tmp_path) == tmp_path / "epoch-1"
    with pytest.raises(
        DataError, match="checkpoint-2: holds adapters and the state to resume from, and no model"
    ):
        resolve_checkpoint(tmp_path / "checkpoint-2")
    # Also without --resume, such a folder holds a run.
    with pytest.raises(DataError, match="holds another run"):
        sft(tiny_llava, tmp_path, **KINDS["LoRA"])


# -- pieces ---------------------------------------------------------------------------------------------


def test_an_epoch_that_ends_is_there_before_the_checkpoint_that_is_past_it(tmp_path, monkeypatch):
    partials = publish.begin(tmp_path, ["epoch-0", "checkpoint-2"])
    for partial in partials.values():
        (partial / "model.safetensors").write_bytes(b"weights")
    renamed = Path.rename

    def killed(place, target):
        if Path(target).name == "checkpoint-2":
            raise KeyboardInterrupt
        return renamed(place, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "rename", killed)
        publish.publish(tmp_path, partials, {})
    assert not damage(tmp_path / "epoch-0") and not (tmp_path / "checkpoint-2").exists()


def test_the_files_of_all_processes_are_waited_for_and_read_once_by_their_own(tmp_path, monkeypatch):
    on_disk = []
    monkeypatch.setattr(manifest.dist, "world_size", lambda: 2)
    (tmp_path / "mine").write_bytes(b"0")
    (tmp_path / "other").write_bytes(b"1")
    monkeypatch.setattr(manifest, "REPORT_S", 0.0)
    with pytest.raises(
        DataError, match=r"process 1 of 2 has not written its part .* a disk that all processes sh"
    ):
        collect_reports(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(manifest.dist, "rank", lambda: 1)
        patched.setattr(manifest, "sync", lambda file: on_disk.append(file.name))
        report(tmp_path, ["other"])
    (tmp_path / "other").unlink()  # a network disk does not show it yet
    with pytest.raises(DataError, match="other was written by another process, and is not there"):
        collect_reports(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(manifest.dist, "rank", lambda: 1)
        (tmp_path / "other").write_bytes(b"1")
        report(tmp_path, ["other"])
    (tmp_path / "other").write_bytes(b"2")  # who wrote it knows what it should hold
    assert on_disk == ["other"]  # by the process that wrote it: a main process of another node could not
    write_manifest(tmp_path, collect_reports(tmp_path))
    assert damage(tmp_path) == "other holds other bytes than were written"
    assert {file.name for file in tmp_path.iterdir()} == {"mine", "other", MANIFEST}


def test_what_fails_in_the_background_is_told_when_it_is_waited_for_and_steps_go_on_meanwhile():
    background, let_go = Background(), threading.Event()

    def fail():
        let_go.wait(10)
        raise OSError("disk full")

    background.start(fail)
    background.settle(timeout_s=0.01)  # does not wait for ever
    let_go.set()
    with pytest.raises(OSError, match="disk full"):
        background.wait()
    background.wait()  # told once


UNDONE = """
import sys, time
from training.utils.checkpoint.background import saving
saving.start(lambda: time.sleep(600))
sys.exit(3)
"""


def test_a_save_that_waits_for_ever_does_not_keep_a_program_that_ends():
    assert subprocess.run([sys.executable, "-c", UNDONE], cwd=ROOT, timeout=60, check=False).returncode == 3


def test_a_save_that_fails_ends_the_run_at_the_next_one(tiny_llava, tmp_path, monkeypatch):
    def no_room(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "publish", no_room)
    with pytest.raises(OSError, match="No space left"):
        sft(tiny_llava, tmp_path)
    assert [line["step"] for line in log(tmp_path)] == [1, 2] and not list(tmp_path.glob("checkpoint-*"))
    saving.wait()


def test_a_save_that_fails_is_told_by_the_next_step_not_by_the_next_save(tiny_llava, tmp_path, monkeypatch):
    """Of 6 steps the second and fourth save: what is trained from the third on could not be kept."""

    def no_room(*args):
        raise OSError(28, "No space left on device")

    def start_and_see(background, work):
        start(background, work)
        background.settle()

    start = Background.start
    monkeypatch.setattr(Background, "start", start_and_see)
    monkeypatch.setattr(run, "publish", no_room)
    with pytest.raises(OSError, match="No space left"):
        sft(tiny_llava, tmp_path, max_steps=6, save_step=1000)
    assert [line["step"] for line in log(tmp_path)] == [1, 2, 3]


def test_a_batch_that_the_processes_can_not_share_alike_is_refused_with_flags_that_fit(done, tiny_llava):
    kind, output = done
    if kind == "fp32":
        (output / "finished").unlink()
        expected = "global batch size 2, and this run has 4\n  .with the 1 processes of this start, "
        expected += "--per_device_train_batch_size 2 --gradient_accumulation_steps 1 keep the batch"
        with pytest.raises(DataError, match=expected):
            sft(tiny_llava, output, resume="auto", per_device_train_batch_size=4)
        arguments = json.loads((output / "args.json").read_text())
        assert len(arguments["starts"]) == 1
