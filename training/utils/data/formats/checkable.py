"""Prompts with a checkable answer, which becomes the label: EasyR1, verl, R1-V."""

from .dialogue import read_prompt
from .llava import spelled
from .row import Row
from .spelled import Spelled


def read_problem(row: Row) -> Spelled:
    """EasyR1: `problem` and `answer`. R1-V: `problem` and `solution`, the answer between `<answer>` tags.

    Where both are there, `solution` is the way to the answer.
    """
    label = row.label("answer" if "answer" in row else "solution")
    row.ignore("solution", "original_question", "original_answer")
    return spelled(read_prompt(row, "problem"), label=label)


def read_verl(row: Row) -> Spelled:
    """verl: `prompt` as messages, the answer in `reward_model.ground_truth`."""
    reward = row.row("reward_model")
    label = reward.label("ground_truth")
    reward.ignore("style")
    return spelled(read_prompt(row, "prompt"), label=label)
