"""Small benchmark files and predictions."""

import json
from pathlib import Path

import pytest


def lines(*entries: dict) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def answers(*texts: str) -> dict[str, list[str]]:
    """Answers to the questions 1, 2, ..."""
    return {str(number): [text] for number, text in enumerate(texts, 1)}


@pytest.fixture
def write(tmp_path):
    """Writes a file of a test: a text as it is, bytes as they are, anything else as JSON."""

    def write(name: str, content) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write
