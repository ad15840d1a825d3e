"""A folder that holds a model: what is in it beside what transformers writes, and what its weights are."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ..data.record import DataError

HEAD_FILE, HEAD_CONFIG_FILE = "value_head.safetensors", "value_head.json"
HEAD = "v_head."  # before the names of a value head's weights, as a module and in its file
SCALE_FILE = "score_scale.json"  # where a reward model's scores lie (training/rewards/ensemble.py)
METADATA_FILE = "alignment.json"
OF_MEANING = ("template", "word_tokens", "verdict", "captions")  # its keys that change what a model says
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


def write_extras(
    folder: Path,
    head: dict[str, Tensor],
    metadata: dict[str, Any],
    scale: tuple[float, float] = (0.0, 1.0),
    aspects: Sequence[str] = (),
) -> None:
    """What this project adds to a model folder of transformers: the value head, if there is one, and what later
    stages need to know. Other programs read the head as docs/reward_model.md says.

    Args:
        head: `weight` [1, D], or [A, D] of A aspects.
        scale: mean and standard deviation that it measures by.
        aspects: names of its outputs, where it has several.
    """
    if head:
        save_file({f"{HEAD}{name}": tensor.contiguous() for name, tensor in head.items()}, folder / HEAD_FILE)
        about = {
            "hidden_size": head["weight"].shape[1],
            "hidden_state": "of the last layer, after the final norm",
            "token": "the last one of the answer, which ends it",
            "mean": scale[0],
            "std": scale[1],
        } | ({"aspects": [*aspects]} if aspects else {})
        (folder / HEAD_CONFIG_FILE).write_text(json.dumps(about, indent=2) + "\n")
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n")


def read_head(folder: Path) -> tuple[dict[str, Tensor], tuple[float, float]]:
    """The value head of a model folder, and its scale, as `write_extras` has them. An older folder knows no scale."""
    head = {name.removeprefix(HEAD): tensor for name, tensor in load_file(folder / HEAD_FILE).items()}
    file = folder / HEAD_CONFIG_FILE
    about = json.loads(file.read_text()) if file.is_file() else {"mean": 0.0, "std": 1.0}
    return head, (about["mean"], about["std"])


def read_aspects(folder: Path) -> tuple[str, ...]:
    """Names of the outputs of a model folder's value head; none where it has one, or there is no head."""
    file = folder / HEAD_CONFIG_FILE
    return tuple(json.loads(file.read_text()).get("aspects", ())) if file.is_file() else ()


def read_metadata(folder: Path) -> dict[str, Any]:
    """What an earlier stage wrote about the checkpoint: its template."""
    file = folder / METADATA_FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def meaning(folder: Path) -> dict[str, Any]:
    """What decides by METADATA_FILE how a model reads and is read: its prompts, and what a reward model is asked."""
    return {key: value for key, value in read_metadata(folder).items() if key in OF_MEANING}


def require_reward_model(checkpoint: str | Path) -> Path:
    """The folder of a reward model.

    Raises:
        DataError: it holds no trained head.
    """
    folder = resolve_checkpoint(checkpoint)
    if not (folder / HEAD_FILE).is_file():
        raise DataError(
            f"{folder}: holds no {HEAD_FILE}; expected a reward model; train one by run_rm_training.sh"
        )
    return folder


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
        HEAD_CONFIG_FILE,
        SCALE_FILE,
        "*processor*.json",
        "*token*.json",
        "chat_template*",
        "vocab*",
        "merges.txt",
        "*.model",
    )
    found = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    return sorted(found)
