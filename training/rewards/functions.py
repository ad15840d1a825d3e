"""Rewards as functions of a record and the responses to it: those that ship, and a user's own."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from training.rewards.judge import judge_question
from training.rewards.table import OfRecord, shipped
from training.utils.config.rewards_config import RewardsConfig
from training.utils.data.captions import captioned
from training.utils.data.record import DataError, Record
from training.utils.run.code import load_function

Given = float | tuple[float, str]  # what a response gets: a number, or a number and why
RewardFunction = Callable[[Record, list[str]], list[Given]]
NUM_TRIED = 10_000  # records, spread evenly


def reward_functions(config: RewardsConfig) -> dict[str, RewardFunction]:
    """By name, in the order of the flag.

    Raises:
        DataError: there is no such function, or no truth for one; from a function, what `within` says.
    """
    ships = {name: as_function(of_record) for name, of_record in shipped(config).items()}
    return {
        name: within(
            config.reward_timeout_s, name, ships.get(name) or load_function("--reward_functions", name)
        )
        for name in config.reward_functions
    }


def as_function(of_record: OfRecord) -> RewardFunction:
    def scores(record: Record, responses: list[str]) -> list[float]:
        score = of_record(record)
        return [score(text) for text in responses]

    return scores


def within(seconds: float, name: str, function: RewardFunction) -> RewardFunction:
    """The function, which may not take longer for a record.

    Raises:
        DataError: (from the function) it took longer, or failed.
    """

    def scores(record: Record, responses: list[str]) -> list[Given]:
        try:
            with time_limit(seconds):
                return list(function(record, responses))
        except DataError:
            raise
        except TimeoutError:
            why = f"gave no answer in {seconds:g} s; expected one, or a higher --reward_timeout_s"
        except Exception as error:  # whatever a user's function raises
            why = f"failed with {type(error).__name__}: {error}"
        raise DataError(f"reward {name}: {why}, for {record.source} ({record.id})")

    return scores


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """TimeoutError after so long. In the main thread alone, where a signal can interrupt what runs."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def try_rewards(config: RewardsConfig, *sets: Sequence[Record]) -> None:
    """Tries the rewards that ship, the captions of reward models and the questions to a judge on some records of each
    set before a model is loaded.

    Raises:
        DataError: a record lacks the truth that a reward needs, or captions; or the judge's prompt is none.
    """
    tried = [*shipped(config).values()]
    if config.captions:
        tried.append(lambda record: captioned(record.turns, record.own_id, record.images, config.captions))
    if config.judges:
        question = judge_question(config)
        tried.append(lambda record: question(record, ""))
    for records in sets if tried else ():
        for number in range(0, len(records), -(-len(records) // NUM_TRIED) or 1):
            record = records[number]
            for of_record in tried:
                of_record(record)
