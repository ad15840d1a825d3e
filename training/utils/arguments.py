"""From a command line to a configuration, and from a configuration to a record of the run."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from transformers import HfArgumentParser

from .config import ConfigError
from .legacy_flags import read_legacy_flags

Config = TypeVar("Config")


def parse_args(config_class: type[Config], argv: Sequence[str] | None = None) -> Config:
    """The configuration of a stage from its command line. A wrong one ends the program with status 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = HfArgumentParser(config_class, allow_abbrev=False)
    try:
        known = {name.lstrip("-") for action in parser._actions for name in action.option_strings}
        argv = read_legacy_flags(argv, known)
        return parser.parse_args_into_dataclasses(argv)[0]
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def save_args(config: Any, folder: Path, name: str = "args.json") -> None:
    """Writes the resolved arguments, the command, the versions and the commit."""

    def found(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    packages = ("torch", "deepspeed", "transformers", "accelerate", "peft", "datasets")
    record = {
        "arguments": dataclasses.asdict(config),
        "command": sys.argv,
        "versions": {"python": sys.version.split()[0], **{package: found(package) for package in packages}},
        "commit": commit.stdout.strip() or None,
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / name).write_text(json.dumps(record, indent=2) + "\n")
