"""A folder that holds a model: what is in it beside what transformers writes, and what its weights are."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ..data.record import DataError

HEAD_FILE = "value_head.safetensors"
METADATA_FILE = "alignment.json"
STATE = "state"  # in a checkpoint: what a run goes on from
ADAPTER_FOLDER = "adapter"  # beside the merged weights, where adapters are all that was trained


def resolve_checkpoint(path: str | Path) -> Path:
    """The model folder that a path means: itself, or the newest one of a stage's output folder.

    Raises:
        DataError: there is no model.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return path
    latest = path / "latest"
    found = [path / latest.read_text().strip()] if latest.is_file() else []
    if found and (found[0] / STATE).is_dir():  # that of a run that trains adapters holds no model
        epochs = [epoch for epoch in path.glob("epoch-*") if epoch.name.removeprefix("epoch-").isdecimal()]
        found += sorted(epochs, key=lambda epoch: int(epoch.name.removeprefix("epoch-")), reverse=True)
    for model in found:
        if (model / "config.json").is_file():
            return model
    if any(path.glob("pytorch_model*.bin")):
        raise DataError(f"{path}: weights without config.json; see training/utils/model/legacy_weights.py")
    what = "no such folder" if not path.is_dir() else "holds no config.json and no finished epoch"
    if (path / STATE).is_dir():
        what = "holds adapters and the state to resume from, and no model; the epochs of its run are models"
    raise DataError(f"{path}: {what}; expected a model folder or the output folder of a training stage")


def write_extras(folder: Path, head: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """What this project adds to a model folder of transformers: the value head, if there is one, and what later
    stages need to know."""
    if head:
        save_file({name: tensor.contiguous() for name, tensor in head.items()}, folder / HEAD_FILE)
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n")


def read_metadata(folder: Path) -> dict[str, Any]:
    """What an earlier stage wrote about the checkpoint: its template."""
    file = folder / METADATA_FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights of a model folder, whole: a second for each gigabyte or two."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    with ThreadPoolExecutor() as pool:  # hashing does not hold the interpreter
        digests = pool.map(_file_digest, files)
        return hashlib.sha256(b"".join(digests)).hexdigest()


def _file_digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def reading_files(folder: Path) -> list[Path]:
    """What decides, beside the weights, how a model reads: its config, tokenizer, processor and chat template."""
    patterns = (
        "config.json",
        "*processor*.json",
        "*token*.json",
        "chat_template*",
        "vocab*",
        "merges.txt",
        "*.model",
    )
    found = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    return sorted(found)
