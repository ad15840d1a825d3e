"""Asking a server for JSON, with time-outs and retries, and without letting its key out."""

import os
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from .data.record import DataError

BUSY = (408, 429, 500, 502, 503, 504)
SHOWN_LEN = 300  # characters of a refusal


class _Bearer(requests.auth.AuthBase):
    """Puts the key into the header. As `auth`, no .netrc takes its place; without a repr, nothing prints it."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Endpoint:
    """An address that takes and gives JSON."""

    def __init__(
        self, url: str, key_name: str, timeout_s: float, retries: int, backoff_s: float = 1.0
    ) -> None:
        """
        Args:
            key_name: the environment variable that holds the key, if the server wants one.
            backoff_s: wait before the second retry; doubles with each.

        Raises:
            DataError: the address is none, or the key is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise DataError(
                f"{parts.hostname or url!r}: expected http(s)://host[:port]/path; a key belongs into ${key_name}"
            )
        self.url, self.key_name, self.timeout_s, self.retries = url, key_name, timeout_s, retries
        self._key = os.environ.get(key_name, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise DataError(f"${key_name}: holds what no header can; expected plain letters and digits")
        retry = Retry(
            total=retries,
            backoff_factor=backoff_s,
            status_forcelist=BUSY,
            allowed_methods={"POST"},
            raise_on_status=False,
        )
        self._session = requests.Session()
        self._session.mount(f"{parts.scheme}://", HTTPAdapter(max_retries=retry))

    def ask(self, question: dict) -> Any:
        """The server's answer.

        Raises:
            DataError: there is none after all retries, or it is a refusal or no JSON. No message holds the key.
        """
        try:
            answer = self._session.post(
                self.url,
                json=question,
                auth=_Bearer(self._key),
                timeout=self.timeout_s,
                allow_redirects=False,  # the key goes nowhere else
            )
        except requests.RequestException as error:
            raise DataError(
                f"{self.url}: {type(error).__name__} after {self.retries} retries; is it up, and are "
                f"{self.timeout_s:g} s enough?"
            ) from None
        if answer.status_code != 200:
            text = answer.text.replace(self._key, f"${self.key_name}") if self._key else answer.text
            raise DataError(f"{self.url}: status {answer.status_code}: {text[:SHOWN_LEN]}")
        try:
            return answer.json()
        except ValueError:
            raise DataError(f"{self.url}: its answer is no JSON: {answer.text[:SHOWN_LEN]}") from None
