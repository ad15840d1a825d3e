"""Fingerprints of files: what a run read, in 64 hexadecimal digits that change when a file does."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

WHOLE = 64 << 20  # bytes: a file up to this size is read to its end
BLOCK = 1 << 20  # bytes of each block that is read of a larger file
NUM_BLOCKS = 64  # spread evenly, the first and the last of the file among them


def files_fingerprint(paths: str | Path | Sequence[str | Path]) -> str:
    """SHA-256 of the names, sizes and contents of files, and of the files of folders at any depth.

    A file is known by its name within the folder that was given, or by its own name: moving a whole data set
    changes nothing. Of a file above 64 MiB only 64 blocks of 1 MiB are read: a change of its size is always seen,
    one that keeps the size only where it touches a block.

    Raises:
        FileNotFoundError: there is no such file or folder.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    digest = hashlib.sha256()
    for path in map(Path, paths):
        for name, file in _files(path):
            digest.update(f"{name}\0{file.stat().st_size}\0".encode())
            digest.update(_content_digest(file))
    return digest.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """The files that a path means, in the order of their names, each with the name that it is known by."""
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        yield path.name, path
        return
    files = (file for file in path.rglob("*") if file.is_file())
    yield from sorted((file.relative_to(path).as_posix(), file) for file in files)


def _content_digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        size = file.stat().st_size
        if size <= WHOLE:
            return hashlib.file_digest(opened, "sha256").digest()
        digest = hashlib.sha256()
        for number in range(NUM_BLOCKS):
            opened.seek(number * (size - BLOCK) // (NUM_BLOCKS - 1))
            digest.update(opened.read(BLOCK))
        return digest.digest()
