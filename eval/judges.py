"""A judge is a function `ask(messages) -> str`: an endpoint, its replies on disk, or such replies alone.

    ask = cached(endpoint(config), Path("replies.jsonl"), config)
    name, ask = replay(Path("replies.jsonl"))

A reward model of one's own judges too, but gives numbers, not texts: see eval/benches/win_rate.py.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from training.utils import jsonl
from training.utils.data.record import DataError
from training.utils.http import Endpoint

Messages = list[dict[str, str]]  # `role` and `content`, as the endpoint takes them
Ask = Callable[[Messages], str]

KEY = "JUDGE_API_KEY"


@dataclass(frozen=True)
class EndpointConfig:
    judge_url: str = field(
        default="http://localhost:8000/v1",
        metadata={"help": f"Address that offers /chat/completions; its key is read from ${KEY} alone."},
    )
    judge_model: str = field(default="", metadata={"help": "The judge's name, as the endpoint knows it."})
    judge_temperature: float = field(default=0.0, metadata={"help": "Official: MMHal 0, LLaVA-Bench 0.2."})
    judge_max_tokens: int = field(default=1024, metadata={"help": "Longest reply, in tokens."})
    judge_timeout_s: float = field(default=120.0, metadata={"help": "Seconds to wait for a reply."})
    judge_retries: int = field(default=6, metadata={"help": "How often a request that failed is sent again."})
    judge_backoff_s: float = field(
        default=1.0, metadata={"help": "Wait before the second retry; doubles with each."}
    )
    judge_requests_per_minute: float = field(
        default=60.0, metadata={"help": "Most requests in a minute; 0: any."}
    )

    @property
    def settings(self) -> dict[str, float]:
        """What the reply depends on, besides the model and the messages."""
        return {"temperature": self.judge_temperature, "max_tokens": self.judge_max_tokens}


def endpoint(config: EndpointConfig) -> Ask:
    """Asks an OpenAI-compatible endpoint, within its rate; a time-out or a busy server is asked again.

    Raises:
        DataError: the address is none, or (from `ask`) the endpoint gave no reply. No message holds the key.
    """
    if not config.judge_model:
        raise DataError("--judge_model: empty; expected the name of a model that the endpoint serves")
    url = config.judge_url.rstrip("/") + "/chat/completions"
    server = Endpoint(
        "--judge_url", url, KEY, config.judge_timeout_s, config.judge_retries, config.judge_backoff_s
    )
    pause_s = 60 / config.judge_requests_per_minute if config.judge_requests_per_minute else 0.0
    next_at = 0.0

    def ask(messages: Messages) -> str:
        nonlocal next_at
        time.sleep(max(0.0, next_at - time.monotonic()))
        next_at = time.monotonic() + pause_s
        answer = server.ask({"model": config.judge_model, "messages": messages} | config.settings)
        try:
            reply = answer["choices"][0]["message"]["content"]
        except (LookupError, TypeError):
            reply = None
        if not isinstance(reply, str):
            raise DataError(f"{url}: no choices[0].message.content in its answer; expected a chat endpoint")
        return reply

    return ask


def digest(model: str, messages: Messages, settings: dict[str, float]) -> str:
    """SHA-256 of all that a reply depends on."""
    text = json.dumps({"model": model, "messages": messages} | settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def cached(ask: Ask, file: Path, config: EndpointConfig) -> Ask:
    """Asks only what `file` does not hold, and writes each reply there at once: a run that was stopped goes on."""
    model, settings = config.judge_model, config.settings
    file.parent.mkdir(parents=True, exist_ok=True)
    jsonl.mend(file)
    replies = {line["sha256"]: line["reply"] for line in jsonl.read(file)}

    def ask_once(messages: Messages) -> str:
        key = digest(model, messages, settings)
        if key not in replies:
            replies[key] = ask(messages)
            line = {"sha256": key, "model": model, "settings": settings, "messages": messages}
            jsonl.append(file, line | {"reply": replies[key]})
        return replies[key]

    return ask_once


def replay(file: Path, model: str = "") -> tuple[str, Ask]:
    """The judge's name, and what it replied to exactly these messages: an answer that changed finds no reply.

    Args:
        file: `model`, `messages` and `reply` in each line, as `cached` writes them.
        model: whose replies; may be left out where the file holds those of one.
    """
    lines = [line for line in jsonl.read(file) if model in ("", line["model"])]
    names = sorted({line["model"] for line in lines})
    if len(names) != 1:
        found = f"replies of {', '.join(names)}" if names else f"no replies of {model or 'any model'}"
        raise DataError(f"{file}: {found}; expected those of one: --judge_model NAME")
    replies: dict[str, str] = {}
    for line in lines:
        if replies.setdefault(json.dumps(line["messages"]), line["reply"]) != line["reply"]:
            raise DataError(f"{file}: two replies of {names[0]} to the same messages; expected one")

    def ask(messages: Messages) -> str:
        key = json.dumps(messages)
        if key not in replies:
            end = messages[-1]["content"][-80:]
            raise DataError(
                f"{file}: no reply to the messages that end in {end!r}; expected the answers, "
                f"questions and prompt that {names[0]} was asked with, or --judge endpoint"
            )
        return replies[key]

    return names[0], ask
