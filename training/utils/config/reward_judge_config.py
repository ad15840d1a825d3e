"""Flags of a judge as a reward: a chat model behind a server, which rates answers in words."""

import json
from dataclasses import dataclass
from typing import Any

from ..http import CONNECTIONS
from .flags import ConfigError, May, flag, require

CHAT = "chat+"  # before the address of an endpoint that is asked as a chat


@dataclass(frozen=True)
class RewardJudgeConfig:
    reward_judge_model: str = flag("", f"The name of the model that answers at {CHAT}http... addresses.")
    reward_judge_prompt: str = flag(
        "",
        "File with what the judge is asked: $question, $answer, and $label if the records have one; its reply has to "
        "end with a number as [[7]]. None: training/rewards/templates/judge.txt.",
        may=May.MOVE_FILES,
        needs={"reward_judge_model": ()},
    )
    reward_judge_scale: list[float] = flag(
        [0.0, 10.0],
        "The worst and the best rating; an answer that gets none counts as the worst.",
        needs={"reward_judge_model": ()},
    )
    reward_judge_images: bool = flag(True, "Show the judge the pictures; it has to be a vision model.")
    reward_judge_settings: list[str] = flag(
        ["temperature=0", "max_tokens=1024"],
        "What is sent along with each question, as NAME=VALUE; the value is JSON.",
    )
    reward_judge_concurrency: int = flag(
        8, "Answers that a process has judged at a time, at most.", may=May.CHANGE
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            not self.judges or bool(self.reward_judge_model),
            f"--reward_judge_model: missing; expected the name of the model that {' '.join(self.judges)} serves",
        )
        require(
            bool(self.judges) or not self.reward_judge_model,
            f"--reward_judge_model {self.reward_judge_model}: nobody is asked; expected {CHAT}http://HOST/v1 among "
            "--reward_endpoints or --rewards",
        )
        bounds = self.reward_judge_scale
        require(
            len(bounds) == 2 and bounds[0] < bounds[1],
            f"--reward_judge_scale {' '.join(map(str, bounds))}: expected the worst and the best rating",
        )
        require(
            0 < self.reward_judge_concurrency <= CONNECTIONS,
            f"--reward_judge_concurrency {self.reward_judge_concurrency}: expected 1 to {CONNECTIONS}",
        )
        self.judge_settings  # noqa: B018  (what is wrong with them is told now)

    @property
    def judges(self) -> list[str]:
        """The endpoints that are asked as chats."""
        return [url for url in self.reward_endpoints if url.startswith(CHAT)]

    @property
    def judge_settings(self) -> dict[str, Any]:
        """
        Raises:
            ConfigError: one is none.
        """
        found = {}
        for pair in self.reward_judge_settings:
            name, _, value = pair.partition("=")
            try:
                found[name] = json.loads(value)
            except json.JSONDecodeError:
                name = ""
            if not name or name in ("model", "messages"):
                raise ConfigError(
                    f"--reward_judge_settings {pair}: expected NAME=VALUE with a value in JSON, as temperature=0 or "
                    'reasoning_effort="low"; the model and the messages are not set here'
                )
        return found
