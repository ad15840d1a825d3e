"""Figures of matplotlib as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def drawn(file: Path, *args: Any, **kwargs: Any) -> Iterator[Any]:
    """The axes to draw on, of `pyplot.subplots(*args, **kwargs)`; then the file is written.

    matplotlib is imported here: that takes a second, and most processes draw nothing.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(*args, **kwargs)
    yield axes
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
