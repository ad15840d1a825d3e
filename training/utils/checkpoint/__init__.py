"""Output folders: models that the next stage, prediction and transformers can load; state to resume from."""

from ..files.model_folder import (
    ADAPTER_FOLDER,
    HEAD_FILE,
    METADATA_FILE,
    read_metadata,
    resolve_checkpoint,
    weights_digest,
    write_extras,
)
from .claim import AlreadyFinished
from .run import Run

__all__ = [
    "ADAPTER_FOLDER",
    "HEAD_FILE",
    "METADATA_FILE",
    "AlreadyFinished",
    "Run",
    "read_metadata",
    "resolve_checkpoint",
    "weights_digest",
    "write_extras",
]
