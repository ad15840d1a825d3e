"""From a command line to a configuration."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from transformers import HfArgumentParser

from .flags import ConfigError
from .legacy_flags import read_flags

Config = TypeVar("Config")


class Parser(HfArgumentParser):
    """Its errors are a `ConfigError`, one line, without the usage of a hundred flags."""

    def __init__(self, config_class: type) -> None:
        super().__init__(config_class, allow_abbrev=False)

    def add_argument(self, *names: str, may: Any = None, **kwargs: Any) -> Any:
        return super().add_argument(
            *names, **kwargs
        )  # what may become of a flag is not the parser's business

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def parse_args(config_class: type[Config], argv: Sequence[str] | None = None) -> Config:
    """The configuration of a stage from its command line. A wrong one ends the program with status 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        parser = Parser(config_class)
        takes = {
            name.lstrip("-"): action.nargs for action in parser._actions for name in action.option_strings
        }
        optional = {
            field.name
            for field in dataclasses.fields(config_class)
            if field.default in ("", None)
            or (field.default_factory is not dataclasses.MISSING and not field.default_factory())
        }
        unused = getattr(config_class, "without_meaning", {})
        return parser.parse_args_into_dataclasses(read_flags(argv, takes, optional, unused))[0]
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
