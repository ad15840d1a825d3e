"""Files that are written in one go: whoever reads sees the old one or the new one, whole."""

from pathlib import Path


def write_whole(file: Path, content: str | bytes) -> None:
    """Writes a file beside its place, text as UTF-8, and moves it there when it is whole."""
    temporary = file.with_name(f".{file.name}.partial")
    if isinstance(content, bytes):
        temporary.write_bytes(content)
    else:
        temporary.write_text(content, encoding="utf-8")
    temporary.replace(file)
