"""Versions of what an outcome depends on."""

import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "deepspeed", "transformers", "accelerate", "peft", "datasets")


def versions() -> dict[str, str | None]:
    """Of Python and of the packages that an outcome depends on."""
    return {"python": sys.version.split()[0], **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
