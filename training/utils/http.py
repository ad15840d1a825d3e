"""Asking a server for JSON: with a deadline, retries and a limit to what is read, and without letting its key out."""

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from .data.record import DataError

BUSY = (408, 429, 500, 502, 503, 504)
OF_THE_QUESTION = (400, 413, 422)  # this question is refused; another may not be
FORBIDDEN = 403  # a moderated question, or a key without rights: the questions after it tell which
LONGEST_WAIT_S = 120.0  # before a retry, whatever the server wishes
LARGEST_REPLY_BYTES = 64 << 20
SHOWN_LEN = 300  # characters of a refusal
SHORTEST_SECRET = (
    6  # characters; a key such as `none` or `EMPTY` is a word, and stays in what a server answers
)
CONNECTIONS = 64

T = TypeVar("T")


class Refused(DataError):
    """The server does not answer this question, and would not if it were asked again."""


class NoAnswer(DataError):
    """There was no usable answer, after all retries."""


class Forbidden(NoAnswer):
    """The key may not ask this: it has no rights, or the question was moderated."""


class _Busy(Exception):
    """The attempt may be repeated.

    Args:
        reason: what is told when it was the last.
        wait_s: what the server wishes to be left alone for.
    """

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _Bearer(requests.auth.AuthBase):
    """Puts the key into the header. As `auth`, no .netrc takes its place; without a repr, nothing prints it."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Endpoint:
    """An address that takes and gives JSON. Several threads may ask at a time."""

    def __init__(
        self, flag: str, url: str, key_name: str, timeout_s: float, retries: int, backoff_s: float = 1.0
    ) -> None:
        """
        Args:
            flag: where the address was given; a wrong one is not repeated, since a key may be in it.
            key_name: the environment variable that holds the key, if the server wants one.
            timeout_s: of an attempt, from the question to the last byte of its answer.
            backoff_s: wait before the second retry; doubles with each.

        Raises:
            DataError: the address is none, or the key is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise DataError(f"{flag}: expected http(s)://host[:port]/path; a key belongs into ${key_name}")
        self.url, self.key_name, self.timeout_s, self.retries = url, key_name, timeout_s, retries
        self.backoff_s = backoff_s
        self._key = os.environ.get(key_name, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise DataError(f"${key_name}: holds what no header can; expected plain letters and digits")
        self._session = requests.Session()
        self._session.mount(f"{parts.scheme}://", HTTPAdapter(pool_maxsize=CONNECTIONS))

    def ask(self, question: dict, read: Callable[[Any], T] = lambda answer: answer) -> T:
        """The server's answer. A busy server, and one whose answer is none, is asked again.

        Args:
            read: what of the answer is wanted. A ValueError from it means: this is no answer. A Refused from it
                counts at once.

        Raises:
            Refused: the server does not take the question.
            NoAnswer: there is no answer after all retries.
            DataError: the server refuses whatever is asked: the address or the key is wrong. No message holds it.
        """
        pauses_s = iter([0.0, *(self.backoff_s * 2**n for n in range(1, self.retries))][: self.retries])
        while True:
            try:
                return self._read(self._in_time(question), read)
            except _Busy as error:
                pause_s = next(pauses_s, None)
                if pause_s is None:
                    raise NoAnswer(f"{self.url}: {error}") from None
                time.sleep(min(max(pause_s, error.wait_s), LONGEST_WAIT_S))

    def _in_time(self, question: dict) -> bytes:
        """The body of the answer. No pause inside it is too long, but the whole may be: so it is read aside."""
        outcome: list[bytes | Exception] = []
        late = threading.Event()

        def attempt() -> None:
            try:
                outcome.append(self._body(question, late))
            except Exception as error:  # it is raised where it is waited for
                outcome.append(error)

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(self.timeout_s)
        late.set()
        if not outcome:
            raise self._lost("no whole answer")
        if isinstance(outcome[0], requests.RequestException):
            raise self._lost(type(outcome[0]).__name__) from None
        if isinstance(outcome[0], Exception):
            raise outcome[0] from None
        return outcome[0]

    def _lost(self, what: str) -> _Busy:
        return _Busy(f"{what} after {self.retries} retries; is it up, and are {self.timeout_s:g} s enough?")

    def _body(self, question: dict, late: threading.Event) -> bytes:
        with self._session.post(
            self.url,
            json=question,
            auth=_Bearer(self._key),
            timeout=self.timeout_s,
            allow_redirects=False,  # the key goes nowhere else
            stream=True,
        ) as answer:
            body = bytearray()
            for part in answer.iter_content(1 << 16):
                body += part
                if late.is_set() or len(body) > LARGEST_REPLY_BYTES:
                    break
        if len(body) > LARGEST_REPLY_BYTES:
            raise NoAnswer(f"{self.url}: its answer is longer than {LARGEST_REPLY_BYTES >> 20} MiB")
        if answer.status_code == 200:
            return bytes(body)
        reason = f"status {answer.status_code}: {self._shown(body)}"
        if answer.status_code in BUSY:
            raise _Busy(reason, _seconds(answer.headers.get("Retry-After", "")))
        if answer.status_code == FORBIDDEN:
            raise Forbidden(f"{self.url}: {reason}")
        kind = Refused if answer.status_code in OF_THE_QUESTION else DataError
        raise kind(f"{self.url}: {reason}")

    def _read(self, body: bytes, read: Callable[[Any], T]) -> T:
        try:
            answer = self._without_key(json.loads(body))
        except (ValueError, RecursionError):
            raise _Busy(f"its answer is no JSON: {self._shown(body)}") from None
        try:
            return read(answer)
        except DataError:
            raise
        except ValueError as error:
            raise _Busy(f"{error}; found {self._shown(body)}") from None

    def _shown(self, body: bytes | bytearray) -> str:
        """The beginning of an answer, for a message: printable, and without the key."""
        text = body[: SHOWN_LEN * 8].decode(errors="replace")
        if self._key:
            text = text.replace(self._key, f"${self.key_name}")
        return "".join(mark if mark.isprintable() else " " for mark in text[:SHOWN_LEN])

    def _without_key(self, value: Any) -> Any:
        """An answer in which the server does not repeat the key: it would come into files and messages."""
        if len(self._key) < SHORTEST_SECRET:
            return value
        if isinstance(value, str):
            return value.replace(self._key, f"${self.key_name}")
        if isinstance(value, list):
            return [self._without_key(part) for part in value]
        if isinstance(value, dict):
            return {self._without_key(name): self._without_key(part) for name, part in value.items()}
        return value


def _seconds(retry_after: str) -> float:
    """What Retry-After asks for, where it is a number (RFC 9110, 10.2.3)."""
    return float(retry_after) if retry_after.strip().isdigit() else 0.0
