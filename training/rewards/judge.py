"""A judge as a reward: a chat model sees the question, its pictures and one answer, and rates it in words.

The rating is a number in the reply as [[7]], as MT-Bench has it (arXiv 2306.05685, figure 6).
"""

import logging
import re
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

from training.rewards.answers import label_of
from training.utils.chat.client import ChatServer, ask_by, replies
from training.utils.chat.messages import concluded, spoken, told
from training.utils.chat.pictures import data_url, part_of
from training.utils.config.reward_judge_config import CHAT
from training.utils.config.rewards_config import RewardsConfig
from training.utils.data.record import DataError, Record
from training.utils.http import Forbidden, Refused

logger = logging.getLogger(__name__)

OWN_PROMPT = Path(__file__).parent / "templates" / "judge.txt"
REMEMBERED = 100  # replies that tell whether the judge rates at all
FEWEST = 10  # of them that have to be there
MOST_UNRATED = 0.5  # share of them
SHOWN_LEN = 200  # characters at the end of a reply


def judge(url: str, key_name: str, config: RewardsConfig) -> Callable[..., list[list[tuple[float, str]]]]:
    """What rates the responses to some records: a number for each, and the judge's words.

    An answer that the judge does not rate counts as the worst, since else an answer that is written to be refused, or
    to confuse the judge, would gain by it.

    Raises:
        DataError: the prompt or the address is none. From what rates: the judge stays away, or rates less than half
            of what it is asked.
    """
    ask = ask_by(
        ChatServer(
            "--reward_endpoints",
            url.removeprefix(CHAT),
            key_name,
            config.reward_judge_model,
            config.judge_settings,
            timeout_s=config.reward_timeout_s,
            retries=config.reward_retries,
            concurrency=config.reward_judge_concurrency,
        )
    )
    question = judge_question(config)
    worst, best = config.reward_judge_scale
    rated: deque[bool] = deque(maxlen=REMEMBERED)

    def rate(asked: Sequence[tuple[Record, list[str]]]) -> list[list[tuple[float, str]]]:
        messages = []
        for record, responses in asked:
            shown = record.images if config.reward_judge_images else ()
            pictures = [part_of(data_url(picture)) for picture in shown]
            messages += [told(question(record, text), pictures) for text in responses]
        said = replies(ask, messages, passed_over=(Refused, Forbidden))
        ratings = [rating(reply.text, worst, best) for reply in said]
        rated.extend(found is not None for found in ratings)
        if unrated := [reply for reply, found in zip(said, ratings, strict=True) if found is None]:
            last = unrated[-1].failure or f"it says {unrated[-1].text[-SHOWN_LEN:]!r}"
            require_rated(url, rated, last)
            counts = f"{len(unrated)} of {len(said)} answers got no rating and count as {worst:g}"
            logger.warning("reward %s: %s; the last: %s", url, counts, last)
        words = (reply.failure or concluded(reply.text).strip() or "(no words)" for reply in said)
        flat = zip((worst if found is None else found for found in ratings), words, strict=True)
        return [[next(flat) for _ in responses] for _, responses in asked]

    return rate


def judge_question(config: RewardsConfig) -> Callable[[Record, str], str]:
    """What the judge is asked about a record and a response to it.

    Raises:
        DataError: the file of the prompt is none. From the function: the record has no label, and one is to be shown.
    """
    file = Path(config.reward_judge_prompt or OWN_PROMPT)
    try:
        template = Template(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"--reward_judge_prompt {file}: {getattr(error, 'strerror', error)}; expected a text"
        ) from None
    names = {*template.get_identifiers()}
    if not (template.is_valid() and {"question", "answer"} <= names <= {"question", "answer", "label"}):
        raise DataError(
            f"--reward_judge_prompt {file}: expected $question and $answer in it, and maybe $label; any other $ "
            "is written as $$"
        )

    def text(record: Record, response: str) -> str:
        label = {"label": label_of(record)} if "label" in names else {}
        return template.substitute(question=conversation(record), answer=response, **label)

    return text


def conversation(record: Record) -> str:
    """The question of a record, below the turns before it if there are some."""
    turns = [(turn.role, spoken(turn.text)) for turn in record.turns]
    if len(turns) == 1:
        return turns[0][1]
    return "\n\n".join(f"{role.upper()}: {text}" for role, text in turns)


def rating(reply: str, worst: float, best: float) -> float | None:
    """The number as [[7]] behind the judge's reasoning; none without one, where two differ, or off the scale."""
    found = {float(number) for number in re.findall(r"\[\[\s*(-?\d+(?:\.\d+)?)\s*\]\]", concluded(reply))}
    return found.pop() if len(found) == 1 and worst <= min(found) <= max(found) <= best else None


def require_rated(url: str, rated: Sequence[bool], last: str) -> None:
    """
    Raises:
        DataError: too many of the latest replies hold no rating.
    """
    share = rated.count(False) / len(rated)
    if len(rated) >= FEWEST and share > MOST_UNRATED:
        raise DataError(
            f"reward {url}: {share:.0%} of the last {len(rated)} replies hold no rating as [[7]] within "
            f"--reward_judge_scale; the last: {last}; is the model a judge that can do it, may it see pictures "
            "(--reward_judge_images), and has it room to reply (--reward_judge_settings max_tokens=...)?"
        )
