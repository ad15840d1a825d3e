"""A flag of the command line: a field of a dataclass, with its help, and what may become of it when a run goes on."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any, Literal


class May(Enum):
    """What may become of a flag when a run goes on (identity.py). One that does not say must stay what it was."""

    CHANGE = auto()
    RESHAPE = auto()  # parts of the global batch: their product over all processes must stay
    LENGTHEN = auto()  # the length of the run: the steps so far must have been the same
    MOVE = auto()  # a path of records: the files there must stay the same
    MOVE_FILES = (
        auto()
    )  # files, with spaces between: they must stay the same, also where each record counts for itself
    MOVE_MODEL = auto()  # model folders: their weights and what they read with must stay the same
    MOVE_PICTURES = auto()  # a folder: the pictures of the records must stay the same
    KEEP_CODE = auto()  # functions as module:function: they must stay, and their code too
    DIFFER_IN_RECORDS = auto()  # which records are used: they must stay the same in training


def flag(
    default: Any = dataclasses.MISSING,
    help: str = "",
    may: May | None = None,
    writes: Literal["file", "folder"] | None = None,
    needs: Mapping[str, Sequence[str]] | None = None,
    **more: Any,
) -> Any:
    """
    Args:
        writes: what the command writes there; that it can is seen before its work begins (outputs.py).
        needs: what it has an effect with: another flag that is, or holds, one of these values, or with none named is
            given at all; of several flags one will do. Without, a value that is not its default is refused.
        more: `choices` as argparse has them; `positional=True` for a flag whose name may be left out.
    """
    about = {"may": may, "writes": writes, "needs": needs}
    metadata = {"help": help} | {name: value for name, value in about.items() if value} | more
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Shorthand:
    """A flag of the command line that stands for others: no field of a configuration, which holds what came out."""

    help: str
    flags: Callable[
        [Sequence[str]], list[str]
    ]  # what stands in its place; ConfigError where its values are wrong
    instead_of: tuple[
        str, ...
    ] = ()  # flags that may not stand beside it; the others that it sets count as given


class ConfigError(ValueError):
    """A flag's value is out of range, or does not go with another."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def require_effect(config: Any) -> None:
    """Nothing may be asked for that the run would not do.

    Raises:
        ConfigError: a flag has another value than its default, and nothing that it `needs` is given.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        needs = field.metadata.get("needs", {})
        if not needs or value == default or any(_is_given(config, *need) for need in needs.items()):
            continue
        known = [f"--{flag} {' or '.join(values)}".rstrip() for flag, values in needs.items()]
        given = [f"--{flag} {_shown(getattr(config, flag))}" for flag in needs if getattr(config, flag)]
        raise ConfigError(
            f"--{field.name} {_shown(value)}: has no effect"
            + (f" with {' '.join(given)}" if given else "")
            + f"; it needs {' or '.join(known)}, or leave it out"
        )


def _is_given(config: Any, flag: str, values: Sequence[str]) -> bool:
    given = getattr(config, flag)
    return bool({*values} & {*([given] if isinstance(given, str) else given)}) if values else bool(given)


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def require_known(flag: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Names of something may be those that there are."""
    known = list(dict.fromkeys(known))
    for name in given:
        require(name in known, f"{flag} {name}: unknown; expected {', '.join(known)}")


def require_other_file(output_flag: str, output: str, input_flag: str, given: str) -> None:
    """An output may not be what it is made from."""
    inputs = {Path(name).resolve() for name in (given, *given.split())}
    require(
        not output or Path(output).resolve() not in inputs,
        f"--{output_flag} {output}: is also --{input_flag}, which would be written over; choose another file",
    )
