"""What a run sampled, as `rollouts.jsonl` has it, of this project's runs today and before they wrote tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from training.utils.data.record import DataError
from training.utils.files import jsonl

FILE = "rollouts.jsonl"
MEASURES = ("advantage", "kl", "reward")  # of each token


@dataclass(frozen=True)
class Tokens:
    """The tokens of an answer, and what is known of each; a number that is not finite is None."""

    lengths: tuple[int, ...]  # characters
    values: dict[str, tuple[float | None, ...]]  # by measure

    def within(self, num_characters: int) -> "Tokens":
        """Those that lie in the first characters."""
        num = sum(end <= num_characters for end in accumulate(self.lengths))
        return Tokens(self.lengths[:num], {name: values[:num] for name, values in self.values.items()})


@dataclass(frozen=True)
class Answer:
    response: str
    text: str  # as its tokens have it, where they are known
    score: float | None
    kl: float | None  # nats, of the whole answer
    tokens: Tokens | None
    of_rewards: dict[str, tuple[float | None, str]]  # of each reward by name its score, and why


@dataclass(frozen=True)
class Group:
    """The samples of a prompt in one step."""

    step: int
    id: str
    prompt: str
    images: tuple[str, ...]
    answers: tuple[Answer, ...]


def read_groups(run: Path) -> list[Group]:
    """All groups of a run's folder, or of the file itself, in the order of the file.

    Raises:
        DataError: there is no such file, or no line of it is a group of samples.
    """
    file = run / FILE if run.is_dir() else run
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected the output folder of run_ppo_training.sh")
    lines = jsonl.read(file)
    groups = [group for line in lines if (group := as_group(line))]
    if not groups:
        raise DataError(
            f"{file}: holds no rollouts; expected lines with `step`, `id`, `responses` and `scores`, as "
            "run_ppo_training.sh writes them"
        )
    if len(groups) < len(lines):
        print(f"warning: {file}: {len(lines) - len(groups)} lines are no groups of samples and are left out")
    return groups


def as_group(line: dict) -> Group | None:
    """The group of a line; none if it is not one."""
    responses, step = line.get("responses"), line.get("step")
    if not (isinstance(step, int) and isinstance(responses, list) and responses):
        return None
    columns = [line.get(name) or [None] * len(responses) for name in ("scores", "kl", "tokens")]
    if not all(isinstance(column, list) and len(column) == len(responses) for column in columns):
        return None
    images = line.get("images")
    scores, words = (by_reward(line.get(name), len(responses)) for name in ("parts", "said"))
    names = [*dict.fromkeys([*scores, *words])]
    unknown = [None] * len(responses)
    of_rewards = [
        {
            name: (
                as_number(scores.get(name, unknown)[number]),
                clean(words.get(name, unknown)[number] or ""),
            )
            for name in names
        }
        for number in range(len(responses))
    ]
    return Group(
        step=step,
        id=clean(line.get("id", "")),
        prompt=clean(line.get("prompt", "")),
        images=tuple(map(clean, images)) if isinstance(images, list) else (),
        answers=tuple(
            as_answer(*of_answer) for of_answer in zip(responses, *columns, of_rewards, strict=True)
        ),
    )


def by_reward(columns: Any, num: int) -> dict[str, list]:
    """Lists with a value for each response, by the names of rewards; what is none is left out."""
    named = columns.items() if isinstance(columns, dict) else ()
    return {clean(name): column for name, column in named if isinstance(column, list) and len(column) == num}


def as_answer(
    response: Any, score: Any, kl: Any, tokens: Any, of_rewards: dict[str, tuple[float | None, str]]
) -> Answer:
    pieces = tokens.get("text") if isinstance(tokens, dict) else None
    known = as_tokens(tokens, pieces) if isinstance(pieces, list) else None
    response = clean(response)
    text = "".join(map(clean, pieces)) if known else response
    return Answer(response, text, as_number(score), as_number(kl), known, of_rewards)


def as_tokens(tokens: dict, pieces: Sequence[Any]) -> Tokens | None:
    """None where a measure has not a value for each token."""
    columns = {name: tokens[name] for name in MEASURES if isinstance(tokens.get(name), list)}
    if not columns or any(len(column) != len(pieces) for column in columns.values()):
        return None
    values = {name: tuple(map(as_number, column)) for name, column in columns.items()}
    return Tokens(tuple(len(clean(piece)) for piece in pieces), values)


def as_number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def clean(text: Any) -> str:
    """A text that can be written: half of a character (a lone surrogate) becomes a question mark."""
    return str(text).encode(errors="replace").decode()


def chosen(groups: Sequence[Group], most: int) -> list[Group]:
    """At most so many answers, in whole groups from all over the run; at least one group."""
    total = max(most, sum(len(group.answers) for group in groups))
    shown: list[Group] = []
    seen = taken = 0
    for group in groups:
        seen += len(group.answers)
        if (taken + len(group.answers)) * total <= seen * most:
            shown.append(group)
            taken += len(group.answers)
    return shown or [groups[0]]
