"""Pictures from Debian's packages, unpacked without installing them."""

import shutil
import subprocess
from pathlib import Path


def unpacked(package: str, folder: Path) -> Path | None:
    """The files of a package under `folder`, fetched once; nothing where it can't be had."""
    place = folder / package
    if place.is_dir():
        return place
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    partial = folder / f".{package}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        subprocess.run(
            ["apt-get", "download", package], cwd=partial, check=True, capture_output=True, timeout=600
        )
        (archive,) = partial.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", archive.name, "."], cwd=partial, check=True, capture_output=True)
    except (subprocess.SubprocessError, OSError, ValueError):
        shutil.rmtree(partial, ignore_errors=True)
        return None
    archive.unlink()
    partial.rename(place)
    return place
