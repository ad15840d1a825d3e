"""Small benchmark files and predictions."""

import json
import threading
from pathlib import Path

import pytest

from tests.eval.judge_server import KEY, Server


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


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("JUDGE_API_KEY", KEY)
    servers = []

    def start(*script):
        servers.append(Server(script))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
