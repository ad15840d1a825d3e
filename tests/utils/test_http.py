"""A server that does what it should not, as a real one in a thread."""

import http.server as http_server
import json
import threading
import time

import pytest

from training.utils import http
from training.utils.data.record import DataError

KEY = "SECRET-KEY-123456"


@pytest.fixture
def serve(monkeypatch):
    """Starts a server; `write(handler)` sends the whole answer. Gives its address and the times of its requests."""
    monkeypatch.setenv("TEST_KEY", KEY)
    servers = []

    def start(write):
        times = []

        class Handler(http_server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                times.append(time.monotonic())
                try:
                    write(self)
                except OSError:
                    self.close_connection = True  # the client went away, as it should

            def log_message(self, *_):
                pass

        server = http_server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/x", times

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def head(handler, status=200, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def says(text, status=200, **headers):
    def write(handler):
        head(handler, status, **headers)
        handler.wfile.write(text.encode())

    return write


def endpoint(url, **settings):
    return http.Endpoint(
        "--url", url, "TEST_KEY", **{"timeout_s": 2, "retries": 0, "backoff_s": 0.01} | settings
    )


def drip(handler, head_too):
    text = b"HTTP/1.0 200 OK\r\n" + (b"X: y\r\n" * 100 if head_too else b"\r\n")
    for place in range(len(text) if head_too else 100):
        handler.wfile.write(text[place : place + 1] if head_too else (text if place == 0 else b" "))
        time.sleep(0.05)


@pytest.mark.parametrize("head_too", [False, True])
def test_a_server_that_drips_is_left_at_the_deadline(serve, head_too):
    url, _ = serve(lambda handler: drip(handler, head_too))
    started = time.monotonic()
    with pytest.raises(
        http.NoAnswer, match="no whole answer after 1 retries; is it up, and are 0.3 s enough"
    ):
        endpoint(url, timeout_s=0.3, retries=1).ask({})
    assert time.monotonic() - started < 2


def test_what_a_server_wishes_to_wait_is_kept_to_but_not_for_ever(serve, monkeypatch):
    url, times = serve(says("later", 429, Retry_After="1"))
    with pytest.raises(http.NoAnswer, match="status 429: later"):
        endpoint(url, retries=1).ask({})
    assert times[1] - times[0] >= 1
    monkeypatch.setattr(http, "LONGEST_WAIT_S", 0.2)
    url, times = serve(says("tomorrow", 429, Retry_After="86400"))
    with pytest.raises(http.NoAnswer, match="status 429: tomorrow"):
        endpoint(url, retries=1).ask({})
    assert 0.2 <= times[1] - times[0] < 1.5
    assert http._seconds("Fri, 31 Dec 1999 23:59:59 GMT") == 0


def test_no_more_is_read_than_an_answer_may_be_long(serve, monkeypatch):
    monkeypatch.setattr(http, "LARGEST_REPLY_BYTES", 1 << 20)

    def endless(handler):
        head(handler)
        for _ in range(1000):
            handler.wfile.write(b"x" * (1 << 16))

    url, times = serve(endless)
    with pytest.raises(DataError, match="its answer is longer than 1 MiB"):
        endpoint(url, retries=3).ask({})
    assert len(times) == 1  # it would be as long again


@pytest.mark.parametrize("text", ["[" * 200_000, '{"n": ' + "1" * 5000 + "}", "<html>", "\x00\xff", ""])
def test_what_is_no_json_is_asked_again_and_told(serve, text):
    url, times = serve(says(text))
    with pytest.raises(http.NoAnswer, match="its answer is no JSON"):
        endpoint(url, retries=2).ask({})
    assert len(times) == 3


@pytest.mark.parametrize("status", [200, 400, 401, 503])
def test_a_key_that_the_server_repeats_is_in_no_message(serve, status):
    url, _ = serve(says("\x1b[31m" + f"your key is Bearer {KEY}", status))
    with pytest.raises(DataError, match=r"your key is Bearer \$TEST_KEY") as error:
        endpoint(url).ask({})
    assert KEY not in str(error.value) and "\x1b" not in str(error.value)


def test_a_key_that_the_server_repeats_in_json_is_in_no_answer(serve):
    escaped = "".join(f"\\u{ord(mark):04x}" for mark in KEY)
    body = json.dumps({"scores": ["@"], KEY: {"a": f"x{KEY}y"}}).replace("@", escaped)
    url, _ = serve(says(body))
    assert endpoint(url).ask({}) == {"scores": ["$TEST_KEY"], "$TEST_KEY": {"a": "x$TEST_KEYy"}}


def test_a_key_that_is_a_plain_word_stays_in_an_answer(serve, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "EMPTY")
    url, _ = serve(says(json.dumps({"said": "the table is EMPTY"})))
    assert endpoint(url).ask({}) == {"said": "the table is EMPTY"}


def test_an_answer_that_says_nothing_is_asked_again_and_a_refusal_is_not(serve):
    url, times = serve(says("{}"))

    def nothing(answer):
        raise ValueError("no scores in it")

    def refusal(answer):
        raise http.Refused("no")

    with pytest.raises(http.NoAnswer, match="no scores in it; found {}"):
        endpoint(url, retries=2).ask({}, nothing)
    assert len(times) == 3
    with pytest.raises(http.Refused, match="no"):
        endpoint(url, retries=2).ask({}, refusal)
    assert len(times) == 4
