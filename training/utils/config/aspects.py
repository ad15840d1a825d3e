"""Names of what a reward model's outputs are about, and how much each counts."""

import re
from collections.abc import Sequence

from .flags import ConfigError, require


def require_aspects(names: Sequence[str]) -> None:
    """
    Raises:
        ConfigError: they are no names, or fewer than two different ones.
    """
    shown = f"--aspects {' '.join(names)}"
    for name in names:
        require(
            re.fullmatch(r"[\w-]+", name) is not None, f"{shown}: expected names of letters, digits, - and _"
        )
    require(len(set(names)) == len(names) != 1, f"{shown}: expected two or more different names, or none")


def weights_of(given: Sequence[str]) -> dict[str, float]:
    """What `--aspect_weights` says, by name: NAME:WEIGHT, or NAME for 1.

    Raises:
        ConfigError: a weight is no number, or a name comes twice.
    """
    weights: dict[str, float] = {}
    for word in given:
        name, colon, weight = word.partition(":")
        try:
            value = float(weight) if colon else 1.0
        except ValueError:
            raise ConfigError(f"--aspect_weights {word}: expected NAME:WEIGHT, as helpful:0.5") from None
        require(name not in weights, f"--aspect_weights {word}: {name} is given twice")
        weights[name] = value
    return weights
