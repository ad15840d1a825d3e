"""The files of a folder with their sizes and checksums: a list that is written last, and proves that all is whole."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import dist

MANIFEST = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Each process reads its share of the files. All processes must call it, when nothing more is written."""
    files = _files(folder)
    mine = files[dist.rank() :: dist.world_size()]
    found = {
        name: entry for share in dist.gather_objects(_entries(folder, mine)) for name, entry in share.items()
    }
    if dist.is_main():
        (folder / MANIFEST).write_text(json.dumps({name: found[name] for name in files}, indent=1) + "\n")


def damage(folder: Path) -> str:
    """What is wrong with a folder, in a few words; nothing if it is as it was written."""
    try:
        manifest = {name: [*entry] for name, entry in json.loads((folder / MANIFEST).read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return f"holds no {MANIFEST} that can be read: it is not whole, or of an earlier version"
    for name, (size, _) in manifest.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if (found := (folder / name).stat().st_size) != size:
            return f"{name} has {found:,} bytes, and was written with {size:,}"
    for name, entry in _entries(folder, list(manifest)).items():
        if entry != manifest[name]:
            return f"{name} holds other bytes than were written"
    return ""


def _files(folder: Path) -> list[str]:
    found = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in found if name != MANIFEST)


def _entries(folder: Path, names: list[str]) -> dict[str, list]:
    """Size in bytes and SHA-256 of each file."""

    def entry(name: str) -> list:
        with (folder / name).open("rb") as opened:
            return [(folder / name).stat().st_size, hashlib.file_digest(opened, "sha256").hexdigest()]

    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(entry, names), strict=True))
