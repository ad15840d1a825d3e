"""A judge is a function `ask(messages) -> str`: an endpoint, or replies on disk (eval/stored_replies.py).

    said = replies(endpoint(config), [messages, ...])

A reward model of one's own judges too, but gives numbers, not texts: see eval/benches/win_rate.py.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from eval.judge_messages import Messages
from training.utils.data.record import DataError
from training.utils.http import CONNECTIONS, Endpoint, NoAnswer, Refused

Ask = Callable[[Messages], str]

KEY = "JUDGE_API_KEY"
SETTINGS = ("temperature", "max_tokens")
DOWN_AFTER = 10  # questions in a row that got no answer: the endpoint is down, not the question bad


@dataclass(frozen=True)
class Reply:
    text: str  # empty: there is none
    failure: str = ""  # why

    def fields(self) -> dict[str, str]:
        """What of it stands in a scored item."""
        return {"reply": self.text} | ({"failure": self.failure} if self.failure else {})


@dataclass(frozen=True)
class EndpointConfig:
    judge_url: str = field(
        default="http://localhost:8000/v1",
        metadata={"help": f"Address that offers /chat/completions; its key is read from ${KEY} alone."},
    )
    judge_model: str = field(default="", metadata={"help": "The judge's name, as the endpoint knows it."})
    judge_temperature: float | None = field(
        default=None, metadata={"help": "None: the benchmark's official one, 0.2 for LLaVA-Bench, else 0."}
    )
    judge_max_tokens: int | None = field(
        default=None,
        metadata={"help": "Longest reply, in tokens. None: 2048 for RefoMB, as officially, else 1024."},
    )
    judge_leave_out: list[str] = field(
        default_factory=list,
        metadata={"help": "Settings that are not sent: temperature, max_tokens; some endpoints refuse them."},
    )
    judge_rename: list[str] = field(
        default_factory=list,
        metadata={"help": "Settings that are sent by another name: max_tokens=max_completion_tokens."},
    )
    judge_timeout_s: float = field(
        default=120.0, metadata={"help": "Seconds to wait for a reply, from the question to its last byte."}
    )
    judge_retries: int = field(default=6, metadata={"help": "How often a request that failed is sent again."})
    judge_backoff_s: float = field(
        default=1.0, metadata={"help": "Wait before the second retry; doubles with each."}
    )
    judge_concurrency: int = field(default=8, metadata={"help": "Most requests at a time."})
    judge_requests_per_minute: float = field(
        default=0.0, metadata={"help": "Most requests in a minute; 0: as many as the endpoint takes."}
    )

    @property
    def settings(self) -> dict[str, float]:
        """What the reply depends on, besides the model and the messages, as it is sent.

        Raises:
            DataError: a setting that is left out or renamed is none.
        """
        names = {name: name for name in SETTINGS}
        for pair in self.judge_rename:
            name, _, new = pair.partition("=")
            if name not in names or not new:
                raise DataError(
                    f"--judge_rename {pair}: expected NAME=NEW, with {' or '.join(SETTINGS)} as NAME"
                )
            names[name] = new
        for name in self.judge_leave_out:
            if name not in SETTINGS:
                raise DataError(f"--judge_leave_out {name}: unknown; expected {' or '.join(SETTINGS)}")
        values = {"temperature": self.judge_temperature or 0.0, "max_tokens": self.judge_max_tokens or 1024}
        return {new: values[name] for name, new in names.items() if name not in self.judge_leave_out}


def endpoint(config: EndpointConfig) -> Ask:
    """Asks an OpenAI-compatible endpoint, within its rate and so many at a time; what failed is asked again.

    Raises:
        DataError: the address is none. From `ask`, as `Endpoint.ask`: one question gets no reply (Refused, NoAnswer),
            or no question does. No message holds the key.
    """
    if not config.judge_model:
        raise DataError("--judge_model: empty; expected the name of a model that the endpoint serves")
    if not 1 <= config.judge_concurrency <= CONNECTIONS:
        raise DataError(f"--judge_concurrency {config.judge_concurrency}: expected 1 to {CONNECTIONS}")
    url = config.judge_url.rstrip("/") + "/chat/completions"
    server = Endpoint(
        "--judge_url", url, KEY, config.judge_timeout_s, config.judge_retries, config.judge_backoff_s
    )
    fixed = {"model": config.judge_model} | config.settings
    free, turn = threading.BoundedSemaphore(config.judge_concurrency), threading.Lock()
    pause_s = 60 / config.judge_requests_per_minute if config.judge_requests_per_minute else 0.0
    next_at, num_unanswered = 0.0, 0
    down: DataError | None = None

    def content(answer: Any) -> str:
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
                reply = server.ask(fixed | {"messages": messages}, content)
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


def replies(ask: Ask, asked: Sequence[Messages]) -> list[Reply]:
    """What the judge says to each of these. Questions that it does not answer have no text, and a reason.

    Raises:
        DataError: as `ask`: the address, the key or the model is wrong, or the judge is down.
    """

    def one(messages: Messages) -> Reply:
        try:
            return Reply(ask(messages))
        except (Refused, NoAnswer) as error:
            return Reply("", str(error))

    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        futures = [pool.submit(one, messages) for messages in asked]
        for future in wait(futures, return_when=FIRST_EXCEPTION).done:
            future.result()  # raises what ended it
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
