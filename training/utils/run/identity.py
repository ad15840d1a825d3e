"""What makes a run this run: the settings that decide its outcome, and fingerprints of what they name.

A flag says in `config/` what may become of it when a run goes on; one that says nothing must stay what it was. A
path is never compared, but what lies there: data, pictures, weights and what they read with. Checkpoints, predictions
and caches ask here.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from ..config.flags import May
from ..config.model_config import ModelConfig
from ..config.train_config import TrainConfig
from ..data.check import data_files
from ..data.encode import Encoder
from ..data.record import Record
from ..files.fingerprint import files_fingerprint
from ..files.model_folder import meaning, reading_files, resolve_checkpoint, weights_digest
from ..process import dist
from .code import code_fingerprint

BATCH = "global batch size"
STAGE = "stage of training"  # two may have the same flags where one has no more than the other
NUM_RECORDS = 512  # whose pictures are read, spread evenly over the records


@dataclass(frozen=True)
class Identity:
    """Two runs are the same if their identities are equal."""

    settings: dict[str, Any]  # flags and their values; with a space in the name, what follows from several
    inputs: dict[str, str]  # what lies at the paths that flags name: fingerprints

    def differences(self, before: "Identity") -> list[str]:
        """What is not as it was, a phrase for each."""
        return self.changed_settings(before) + self.changed_inputs(before)

    def changed_settings(self, before: "Identity") -> list[str]:
        """Which settings have other values. One that an older record does not hold is not compared."""
        return [
            f"{_flag(name)} {_shown(before.settings[name])}, and this run has {_shown(value)}"
            for name, value in self.settings.items()
            if name in before.settings and before.settings[name] != value
        ]

    def changed_inputs(self, before: "Identity") -> list[str]:
        """Which files are not what they were."""
        pairs = {
            name: (before.inputs.get(name), self.inputs.get(name)) for name in before.inputs | self.inputs
        }
        return [
            f"{name} {_short(then)}, and this run has {_short(now)}"
            for name, (then, now) in pairs.items()
            if then != now
        ]

    def weights_of(self, flag: str) -> str:
        """The digest of the weights that a flag names."""
        return self.inputs[f"--{flag}: weights"]


def identify(
    config: ModelConfig, encoder: Encoder, sets: Sequence[Sequence[Record]] | None = None
) -> Identity:
    """What decides the outcome of a run. It reads weights whole: only the main process should call it.

    Args:
        sets: the records that the outcome depends on as a whole; none: each counts for itself.

    Raises:
        DataError: a model is not there.
    """
    settings: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        match field.metadata.get("may"):
            case None:
                settings[name] = value
            case May.KEEP_CODE:
                settings[name] = value
                settings |= {
                    f"code of --{name} {each}": code_fingerprint(f"--{name}", each)
                    for each in value
                    if ":" in each
                }
            case May.DIFFER_IN_RECORDS if sets is not None:
                settings[name] = value
            case May.MOVE_MODEL:
                paths = [value] if isinstance(value, str) else value
                for number, path in enumerate(filter(None, paths)):
                    flag = f"--{name}" + (f"[{number}]" if number else "")
                    inputs |= model_inputs(flag, path)
                    settings[f"{flag} is read with"] = meaning(resolve_checkpoint(path))
            case May.MOVE if value and sets is not None:
                inputs[f"--{name}: content"] = files_fingerprint(data_files(value))
            case May.MOVE_FILES if value:
                inputs[f"--{name}: content"] = files_fingerprint(value.split())
            case May.MOVE_PICTURES if sets is not None:
                inputs[f"--{name}: pictures"] = pictures_fingerprint(sets)
    # What was resolved counts, not how it was spelled.
    settings |= {
        "template": encoder.template_name,
        "word_tokens": list(encoder.word_tokens),
        "model_architecture": type(encoder.family).__name__,
        "precision": str(config.torch_dtype).removeprefix("torch."),
    }
    if dataclasses.is_dataclass(encoder.template):  # a chat template is a file of the model
        inputs["--template: text"] = _digest(repr(encoder.template))
    if sets is not None:
        settings["number of records"] = sum(map(len, sets))
    if isinstance(config, TrainConfig):
        per_device, accumulated = config.per_device_train_batch_size, config.gradient_accumulation_steps
        settings[BATCH] = per_device * accumulated * dist.world_size()
        settings[STAGE] = type(config).__name__.removesuffix("Config")
    return Identity(settings, inputs)


def model_inputs(flag: str, path: str | Path) -> dict[str, str]:
    """Fingerprints of a model folder: its weights, and what it reads with."""
    folder = resolve_checkpoint(path)
    return {
        f"{flag}: weights": weights_digest(folder),
        f"{flag}: config, tokenizer and processor": files_fingerprint(reading_files(folder)),
    }


def pictures_fingerprint(sets: Sequence[Sequence[Record]]) -> str:
    """Of the files that records name, or of a part of them where they are many. Pictures inside a data set are its
    own content."""
    files: dict[Path, None] = {}
    for records in sets:
        for number in range(0, len(records), ceil(len(records) / NUM_RECORDS) or 1):
            files |= dict.fromkeys(image for image in records[number].images if isinstance(image, Path))
    return files_fingerprint(list(files))


def _flag(name: str) -> str:
    return name if " " in name else f"--{name}"


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) or "(none)" if isinstance(value, list) else str(value) or "(none)"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "(none)"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
