"""From a command line to a configuration."""

import dataclasses
import sys
from argparse import SUPPRESS
from collections.abc import Container, Iterator, Sequence
from itertools import takewhile
from typing import Any, NoReturn, TypeVar

from transformers import HfArgumentParser

from .flags import ConfigError, Shorthand, require
from .legacy_flags import read_flags

Config = TypeVar("Config")
OF_FLAGS = ("may", "writes", "needs", "positional")  # what a flag says that is not argparse's business


class Parser(HfArgumentParser):
    """Its errors are a `ConfigError`, one line, without the usage of a hundred flags."""

    def __init__(self, config_classes: Sequence[type], unused: Container[str]) -> None:
        """
        Args:
            unused: flags that do nothing in this command, which its help leaves out.
        """
        self.unused = unused
        super().__init__(config_classes, allow_abbrev=False)
        self.shorthands: dict[str, Shorthand] = {
            name: shorthand
            for config_class in config_classes
            for ancestor in config_class.__mro__
            for name, shorthand in vars(ancestor).get("shorthands", {}).items()
        }
        for name, shorthand in self.shorthands.items():
            self.add_argument(f"--{name}", default=SUPPRESS, nargs="*", help=shorthand.help)

    def add_argument(self, *names: str, **kwargs: Any) -> Any:
        if names[0].lstrip("-") in self.unused:
            kwargs["help"] = SUPPRESS
        return super().add_argument(*names, **{k: v for k, v in kwargs.items() if k not in OF_FLAGS})

    def written_out(self, given: Sequence[str]) -> list[str]:
        """The command line with what shorthands stand for in their place, and in front: what is given beside them
        counts.

        Raises:
            ConfigError: one is given twice, beside what it stands for, or with wrong values.
        """
        first: list[str] = []
        rest = [*given]
        for name, shorthand in self.shorthands.items():
            if (flag := f"--{name}") not in rest:
                continue
            place = rest.index(flag)
            values = [*takewhile(lambda word: not word.startswith("--"), rest[place + 1 :])]
            rest = [*rest[:place], *rest[place + 1 + len(values) :]]
            require(flag not in rest, f"{flag}: given more than once; expected all in one")
            named = {word.lstrip("-").replace("-", "_") for word in rest if word.startswith("--")}
            beside = [f"--{other}" for other in shorthand.instead_of if other in named]
            require(not beside, f"{flag}: not with {' '.join(beside)}, which it stands for; give either")
            first += shorthand.flags(values)
        return [*first, *rest]

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def parse_args(config_class: type[Config], argv: Sequence[str] | None = None) -> Config:
    """The configuration of a stage from its command line. A wrong one ends the program with status 2."""
    return parse_all([config_class], argv)[0]


def parse_all(config_classes: Sequence[type], argv: Sequence[str] | None = None) -> tuple[Any, ...]:
    """The same for a command whose flags are those of several classes, or none."""
    argv = list(sys.argv[1:] if argv is None else argv)
    fields = [field for config_class in config_classes for field in dataclasses.fields(config_class)]
    try:
        unused = {
            name: why
            for config_class in config_classes
            for name, why in getattr(config_class, "without_meaning", {}).items()
        }
        parser = Parser(config_classes, unused)
        takes = {
            name.lstrip("-"): action.nargs
            for action in parser._actions
            for name in action.option_strings
            if action.dest not in unused
        }
        optional = {
            field.name
            for field in fields
            if field.default in ("", None)
            or (field.default_factory is not dataclasses.MISSING and not field.default_factory())
        }
        given = read_flags([*_named(argv, fields)], takes, optional, unused)
        return parser.parse_args_into_dataclasses(parser.written_out(given))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _named(argv: Sequence[str], fields: Sequence[dataclasses.Field]) -> Iterator[str]:
    """The command line with names before the values that stand first without one."""
    names = [f"--{field.name}" for field in fields if field.metadata.get("positional")]
    values = list(takewhile(lambda word: not word.startswith("-"), argv)) if names else []
    if len(values) > len(names):
        raise ConfigError(f"{values[len(names)]}: belongs to no flag; expected {' '.join(names)} at most")
    for name, value in zip(names[: len(values)], values, strict=True):  # the last may be left out
        yield from (name, value)
    yield from argv[len(values) :]
