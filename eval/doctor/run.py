"""A run as its output folder tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.run.run_record import RECORD_FILE, RunRecord

LAST_BYTES = 1 << 16  # of training.log
SHOWN = 100  # characters of a response


class NotJudged(Exception):
    """What a look at a run needs is not there; the message says what."""


@dataclass(frozen=True)
class Series:
    """A figure over the steps that have it."""

    name: str
    steps: np.ndarray  # [S]
    values: np.ndarray  # [S]

    def __len__(self) -> int:
        return len(self.values)

    def up_to(self, step: int) -> "Series":
        return Series(self.name, self.steps[self.steps <= step], self.values[self.steps <= step])


@dataclass(frozen=True)
class Run:
    folder: Path
    arguments: dict[str, Any]  # of its first start
    settings: dict[str, Any]  # what they meant
    starts: Sequence[dict[str, Any]]
    log: Sequence[dict[str, Any]]
    rollouts: Sequence[dict[str, Any]] = ()
    said: str = ""  # the end of training.log

    @property
    def stage(self) -> str:
        """sft, reward_model, dpo or ppo, by the flags that it alone has."""
        marks = {"advantage_estimator": "ppo", "simpo_gamma": "dpo", "centering_coef": "reward_model"}
        return next((stage for mark, stage in marks.items() if mark in self.arguments), "sft")

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """Log lines of optimizer steps."""
        return [line for line in self.log if "epoch" in line]

    @property
    def num_steps(self) -> int:
        """Steps that the run is to take; as many as it has taken, if it does not say."""
        return (self.starts[-1].get("num_steps") if self.starts else None) or len(self.steps)

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        return [line for line in self.log if "epoch" not in line]

    def series(self, name: str, at_least: int = 1) -> Series:
        """A figure of the steps, without those where it is not finite.

        Raises:
            NotJudged: fewer than `at_least` steps have it.
        """
        found = [(line["step"], line[name]) for line in self.steps if line.get(name) is not None]
        if len(found) < at_least:
            raise NotJudged(f"`{name}` is logged for {len(found)} steps, and {at_least} are needed")
        steps, values = zip(*found, strict=True)
        return Series(name, np.array(steps), np.array(values, dtype=float))

    def evaluated(self, name: str) -> tuple[int, float]:
        """The step and value of a figure at the first evaluation that has it.

        Raises:
            NotJudged: none has it.
        """
        for line in self.evaluations:
            if line.get(name) is not None:
                return line["step"], line[name]
        raise NotJudged(f"`{name}` is not logged: no evaluation that measures it has come yet")

    def samples(self, last: bool, count: int = 3) -> list[str]:
        """Sampled responses with their scores, of the first or the last step."""
        if not self.rollouts:
            return []
        step = self.rollouts[-1 if last else 0]["step"]
        lines = [line for line in self.rollouts if line["step"] == step][:count]
        return [
            f"step {step}, {line['id']}: {short(line['responses'][0])!r} scores {line['scores'][0]:.3g}"
            for line in lines
        ]


def short(text: str) -> str:
    """Its beginning, and its length where that is not all."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def read_run(folder: Path) -> Run:
    """
    Raises:
        DataError: the folder is not that of a run, or its log is empty.
    """
    file = folder / RECORD_FILE
    record = RunRecord.read(file) if file.is_file() else None
    if record is None:
        raise DataError(
            f"{folder}: has no {RECORD_FILE} that says what its run is; expected the --output_dir of a stage"
        )
    log = jsonl.read(folder / "log.jsonl")
    rollouts = jsonl.read(folder / "rollouts.jsonl")
    said = ""
    if (printed := folder / "training.log").is_file():
        with printed.open("rb") as opened:
            opened.seek(max(0, printed.stat().st_size - LAST_BYTES))
            said = opened.read().decode(errors="replace")
    if not log and not said:
        raise DataError(f"{folder}/log.jsonl: no step is logged yet; expected a run that has taken some")
    return Run(folder, record.arguments, record.identity.settings, record.starts, log, rollouts, said)
