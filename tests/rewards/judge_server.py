"""A chat server in a thread, which says what a function makes of each question."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Asked:
    text: str
    pictures: list[str]  # addresses
    key: str | None
    settings: dict  # all else


class JudgeServer(ThreadingHTTPServer):
    """
    Args:
        says: the reply to a question's text; or a status other than 200, and a body.
    """

    def __init__(self, says: Callable[[str], str | tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says, self.asked = says, []
        self.url = f"chat+http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        (message,) = body.pop("messages")
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        pictures = [part["image_url"]["url"] for part in parts[:-1]]
        asked = Asked(parts[-1]["text"], pictures, self.headers.get("Authorization"), body)
        self.server.asked.append(asked)
        said = self.server.says(asked.text)
        status, said = said if isinstance(said, tuple) else (200, said)
        found = self.path == "/v1/chat/completions"
        self.send_response(status if found else 404)
        self.end_headers()
        answer = said if status != 200 else json.dumps({"choices": [{"message": {"content": said}}]})
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass
