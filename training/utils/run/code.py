"""Functions of a user's own, as `module:function`, and what tells that their code has changed."""

import hashlib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data.record import DataError


def load_function(flag: str, name: str) -> Callable[..., Any]:
    """A Python function given as `module:function`.

    Args:
        flag: that gave it.

    Raises:
        DataError: there is none.
    """
    module_name, _, function_name = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(f"{flag} {name}: {error}; expected module:function, importable from here") from None


def code_fingerprint(flag: str, name: str) -> str:
    """Digits that change when the file changes that a function stands in: what it calls there is its code too, what
    it imports is not. Of one that has no file, those of its name.

    Raises:
        DataError: there is no such function.
    """
    function = inspect.unwrap(load_function(flag, name))
    try:
        content = Path(inspect.getsourcefile(function) or "").read_bytes()
    except (TypeError, OSError):  # a callable object, or compiled
        module = importlib.import_module(name.partition(":")[0])
        content = Path(module.__file__).read_bytes() if getattr(module, "__file__", None) else name.encode()
    return hashlib.sha256(content).hexdigest()[:12]
