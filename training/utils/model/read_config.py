"""The config of a checkpoint folder."""

from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from ..data.record import DataError


def read_config(checkpoint: str | Path, trust_remote_code: bool = False) -> PretrainedConfig:
    """The config of a checkpoint. Code that comes with it is run if it is trusted, and never asked about.

    Raises:
        DataError: its model type is unknown, or comes with code that is not trusted.
    """
    try:
        return AutoConfig.from_pretrained(checkpoint, trust_remote_code=trust_remote_code)
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise DataError(
                f"{checkpoint}: comes with Python code of its own; read it, and trust it by --trust_remote_code"
            ) from None
        raise DataError(f"{checkpoint}: its config.json can't be used: {error}") from None
