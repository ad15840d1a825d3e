"""Replies of a judge on disk: a run that was stopped goes on, and the same figures need no endpoint.

ask = cached(endpoint(config), Path("replies.jsonl"), config)
name, ask = replay(Path("replies.jsonl"))
"""

import hashlib
import json
import threading
from pathlib import Path

from eval.judges import EndpointConfig
from training.utils.chat.client import Ask
from training.utils.chat.messages import Messages, text_of
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.http import NoAnswer, Refused


def digest(model: str, messages: Messages, settings: dict[str, float]) -> str:
    """SHA-256 of all that a reply depends on."""
    text = json.dumps({"model": model, "messages": messages} | settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def cached(ask: Ask, file: Path, config: EndpointConfig) -> Ask:
    """Asks only what `file` does not hold, and writes each reply there at once: a run that was stopped goes on.

    What got no reply is listed in a file beside it, for `replay` to give the same figures; it is asked again.
    """
    model, settings = config.judge_model, config.settings
    file.parent.mkdir(parents=True, exist_ok=True)
    jsonl.mend(file)
    known = {line["sha256"]: line["reply"] for line in jsonl.read(file)}
    writing = threading.Lock()

    def ask_once(messages: Messages) -> str:
        key = digest(model, messages, settings)
        if key in known:
            return known[key]
        line = {"sha256": key, "model": model, "settings": settings, "messages": messages}
        try:
            reply = ask(messages)
        except (Refused, NoAnswer) as error:
            with writing:
                jsonl.append(failed_file(file), line | {"failure": str(error)})
            raise
        with writing:
            if key not in known:  # else the same was asked twice at a time: the first reply stands
                known[key] = reply
                jsonl.append(file, line | {"reply": reply})
        return known[key]

    return ask_once


def failed_file(file: Path) -> Path:
    """What got no reply, and why, beside the replies."""
    return file.with_suffix(".failed.jsonl")


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
    failed = (line for line in jsonl.read(failed_file(file)) if line["model"] == names[0])
    failures = {json.dumps(line["messages"]): line["failure"] for line in failed}
    known: dict[str, str] = {}
    for line in lines:
        key = json.dumps(line["messages"])
        if known.setdefault(key, line["reply"]) != line["reply"]:
            raise DataError(f"{file}: two replies of {names[0]} to the same messages; expected one")

    def ask(messages: Messages) -> str:
        key = json.dumps(messages)
        if key in known:
            return known[key]
        if key in failures:
            raise Refused(failures[key])
        end = text_of(messages[-1])[-80:]
        raise DataError(
            f"{file}: no reply to the messages that end in {end!r}; expected the answers, "
            f"questions and prompt that {names[0]} was asked with, or --judge endpoint"
        )

    return names[0], ask
