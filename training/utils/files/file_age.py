"""How old a file is."""

import os
import tempfile
from pathlib import Path


def age_s(file: Path | int, folder: Path) -> float:
    """Seconds since a file of a folder, or an open one, was written; negative if the clock was set back since.

    By the clock of the file system, as a new file there shows it: that of this machine may be another one.
    """
    with tempfile.TemporaryFile(dir=folder) as now:
        return os.fstat(now.fileno()).st_mtime - os.stat(file).st_mtime
