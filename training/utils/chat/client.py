"""Asks an OpenAI-compatible server: many questions at a time, within its rate; what failed is asked again.

said = replies(ask_by(server), [messages, ...])
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ..data.record import DataError
from ..http import CONNECTIONS, Endpoint, NoAnswer, Refused
from .messages import Messages

Ask = Callable[[Messages], str]

DOWN_AFTER = 10  # questions in a row that got no answer: the server is down, not the question bad


@dataclass(frozen=True)
class ChatServer:
    """A model that is served, and how it is asked.

    Attributes:
        flag: where the address was given, for messages.
        url: address that offers /chat/completions.
        key_name: the environment variable that holds the key, if the server wants one.
        settings: what else goes with each question, as the server calls it: temperature, max_tokens, ...
        timeout_s: for a reply, from the question to its last byte.
        backoff_s: wait before the second retry; doubles with each.
        concurrency: most requests at a time.
        requests_per_minute: most of them; 0: as many as the server takes.
    """

    flag: str
    url: str
    key_name: str
    model: str
    settings: Mapping[str, Any]
    timeout_s: float
    retries: int
    backoff_s: float = 1.0
    concurrency: int = 8
    requests_per_minute: float = 0.0


@dataclass(frozen=True)
class Reply:
    text: str  # empty: there is none
    failure: str = ""  # why

    def fields(self) -> dict[str, str]:
        """What of it stands in a scored item."""
        return {"reply": self.text} | ({"failure": self.failure} if self.failure else {})


def ask_by(server: ChatServer) -> Ask:
    """
    Raises:
        DataError: the address is none. From `ask`, as `Endpoint.ask`: one question gets no reply (Refused, NoAnswer),
            or no question does. No message holds the key.
    """
    url = server.url.rstrip("/") + "/chat/completions"
    endpoint = Endpoint(server.flag, url, server.key_name, server.timeout_s, server.retries, server.backoff_s)
    fixed = {"model": server.model} | dict(server.settings)
    free, turn = threading.BoundedSemaphore(server.concurrency), threading.Lock()
    pause_s = 60 / server.requests_per_minute if server.requests_per_minute else 0.0
    next_at, num_unanswered = 0.0, 0
    down: DataError | None = None

    def ask(messages: Messages) -> str:
        nonlocal next_at, num_unanswered, down
        with turn:
            at = max(next_at, time.monotonic())
            next_at = at + pause_s
        with free:
            if down:
                raise down
            time.sleep(max(0.0, at - time.monotonic()))
            try:
                reply = endpoint.ask(fixed | {"messages": messages}, lambda answer: content(answer, url))
            except NoAnswer as error:
                num_unanswered += 1
                if num_unanswered < DOWN_AFTER:
                    raise
                down = DataError(f"{DOWN_AFTER} questions in a row got no answer; the last: {error}")
                raise down from None
            except DataError as error:
                down = down if isinstance(error, Refused) else error
                raise
            num_unanswered = 0
            return reply

    return ask


def content(answer: Any, url: str) -> str:
    """The text of a server's answer.

    Raises:
        Refused: the model says nothing.
        ValueError: it is no answer of a chat.
    """
    try:
        text = answer["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        text = ()
    if isinstance(text, list):
        texts = [part.get("text") for part in text if isinstance(part, dict)]
        text = "".join(part for part in texts if isinstance(part, str)) or text
    if text is None:
        raise Refused(f"{url}: no choices[0].message.content in its answer: the judge refuses to reply")
    if not isinstance(text, str):
        raise ValueError("no choices[0].message.content in its answer; expected a chat endpoint")
    return text


def replies(
    ask: Ask, asked: Sequence[Messages], passed_over: tuple[type[DataError], ...] = (Refused, NoAnswer)
) -> list[Reply]:
    """What is said to each of these. Questions that get no answer have no text, and a reason.

    Args:
        passed_over: what may become of one question while the others go on.

    Raises:
        DataError: as `ask`, anything else: the address, the key or the model is wrong, or the server is down.
    """

    def one(messages: Messages) -> Reply:
        try:
            return Reply(ask(messages))
        except passed_over as error:
            return Reply("", str(error))

    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        futures = [pool.submit(one, messages) for messages in asked]
        for future in wait(futures, return_when=FIRST_EXCEPTION).done:
            future.result()  # raises what ended it
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
