"""A judge is a function `ask(messages) -> str`: an endpoint, by the flags here, or replies on disk
(eval/stored_replies.py).

A reward model of one's own judges too, but gives numbers, not texts: see eval/benches/win_rate.py.
"""

from dataclasses import dataclass, field

from training.utils.chat.client import Ask, ChatServer, ask_by
from training.utils.data.record import DataError
from training.utils.http import CONNECTIONS

KEY = "JUDGE_API_KEY"
SETTINGS = ("temperature", "max_tokens")


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
    """Asks the judge that the flags name.

    Raises:
        DataError: there is no name, or it can't be asked so; and as `ask_by`.
    """
    if not config.judge_model:
        raise DataError("--judge_model: empty; expected the name of a model that the endpoint serves")
    if not 1 <= config.judge_concurrency <= CONNECTIONS:
        raise DataError(f"--judge_concurrency {config.judge_concurrency}: expected 1 to {CONNECTIONS}")
    return ask_by(
        ChatServer(
            "--judge_url",
            config.judge_url,
            KEY,
            config.judge_model,
            config.settings,
            timeout_s=config.judge_timeout_s,
            retries=config.judge_retries,
            backoff_s=config.judge_backoff_s,
            concurrency=config.judge_concurrency,
            requests_per_minute=config.judge_requests_per_minute,
        )
    )
