"""A judge as a real server in a thread, which keeps what it was asked."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-hush-0123456789"


class Server(ThreadingHTTPServer):
    """Answers each request with the next of `script` (status, text, seconds to wait), at last always the same."""

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.requests = list(script), []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.requests.append((self.path, self.headers.get("Authorization"), body))
        status, text, wait_s = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        time.sleep(wait_s)
        answer = text if status != 200 else json.dumps({"choices": [{"message": {"content": text}}]})
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        try:
            self.wfile.write(answer.encode())
        except BrokenPipeError:
            pass  # the client gave up, as it should

    def log_message(self, *_):
        pass
