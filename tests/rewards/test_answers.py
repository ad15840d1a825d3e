r"""Rewards of answers that can be checked, and of how a response is written: right values."""

import time

import pytest

from training.rewards.functions import reward_functions
from training.rewards.table import OF_LABELS, OF_PICTURES, OF_SHAPE
from training.utils.answers.boxes import boxes, iou, matched_iou
from training.utils.answers.final import final_answer
from training.utils.config import rewards_config
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.record import DataError, Record, Turn


def config(*names, **more):
    given = {"from_checkpoint": "x", "data_path": "x", "output_dir": "x", "critic_init": "policy"}
    return PPOConfig(**given, reward_functions=[*names], **more)


def record(label=None, name="7", images=()):
    return Record(name, "test[0]", images, (Turn("user", "What?"),), label=label)


def scored(name, label, *responses, **more):
    (function,) = reward_functions(config(name, **more)).values()
    return function(record(label), [*responses])


def test_the_names_are_those_of_the_flag():
    assert OF_LABELS.keys() == rewards_config.OF_LABELS
    assert OF_PICTURES.keys() == rewards_config.OF_OBJECTS
    assert {*OF_LABELS, *OF_PICTURES, *OF_SHAPE} == rewards_config.SHIPPED


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" A dog. ", "A dog."),
        ("<think>A cat?</think>\nA dog", "A dog"),
        ("<think>So \\boxed{4}.</think><answer> 5 </answer>", "5"),
        ("<answer>4</answer> no, <answer>5</answer>", "5"),
        ("It is \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("<answer>\\boxed{5}</answer>", "5"),
        ("\\boxed{4} is wrong: \\boxed{5}", "5"),
        ("never closed: \\boxed{4", "never closed: \\boxed{4"),
    ],
)
def test_the_final_answer(text, answer):
    assert final_answer(text) == answer


def test_exact():
    right = ["a red Dog.", "<think>cat</think><answer>A  red dog</answer>", "\\boxed{a red dog}"]
    assert scored("exact", "A red dog", *right) == [1, 1, 1]
    assert scored("exact", "A red dog", "It is a red dog", "a dog", "") == [0, 0, 0]


@pytest.mark.parametrize("name", ["exact", "boxed"])
def test_what_counts_of_a_label_is_its_final_answer_too(name):
    solution = "They are 1 and 2, so \\boxed{cat}."
    assert scored(name, solution, "It is \\boxed{cat}", "\\boxed{dog}", "") == [1, 0, 0]
    for label in (".", "\\boxed{ }", "<answer></answer> ."):
        with pytest.raises(DataError, match=rf"--rewards {name} expected an answer"):
            scored(name, label, "", ".", "\\boxed{}")


def test_number():
    right = ["There are 12.", "twelve", "<answer>12.0</answer>", "24/2"]
    assert scored("number", "12", *right) == [1, 1, 1, 1]
    assert scored("number", "<answer>12</answer>", "12 cats", "12 or 13", "-12", "no idea") == [1, 0, 0, 0]
    with pytest.raises(
        DataError, match=r"test\[0\] \(7\): the label is 'many'; --rewards number expected a number"
    ):
        scored("number", "many", "3")


def test_count_falls_with_the_share_that_is_missing():
    assert scored("count", "4", "4", "three", "6", "8", "100", "none") == [1, 0.75, 0.5, 0, 0, 0]
    assert scored("count", "0", "0", "1", "nothing") == [1, 0, 0]


def test_choice():
    right = ["B", "(b)", "The answer is **B**.", "<think>A?</think><answer>B</answer>"]
    assert scored("choice", "B", *right) == [1, 1, 1, 1]
    assert scored("choice", "(B) a dog", "A", "B or C", "a dog") == [0, 0, 0]
    with pytest.raises(DataError, match="expected a letter from A to J"):
        scored("choice", "dog", "B")


def test_boxes_are_read_as_models_write_them():
    assert boxes('{"bbox_2d": [1, 2, 3, 4]} and <box>(5,6),(7.5,8)</box>') == [(1, 2, 3, 4), (5, 6, 7.5, 8)]
    assert boxes("[[1, 2, 3, 4], [9, 8, 5, 6]]") == [(1, 2, 3, 4), (5, 6, 9, 8)]
    assert boxes("[1, 2, 3] or 1, 2, 3, 4") == []
    assert boxes("[10., .5, 1e1, 2.5E+1]") == [(10, 0.5, 10, 25)]


def test_iou_by_hand():
    """Two squares of 4 that share 1: 1 / 7."""
    one, other = (0.0, 0.0, 2.0, 2.0), (1.0, 1.0, 3.0, 3.0)
    assert iou(one, other) == pytest.approx(1 / 7)
    assert iou(one, one) == 1 and iou(one, (5.0, 5.0, 6.0, 6.0)) == 0 and iou(one, (0.0, 0.0, 0.0, 0.0)) == 0
    assert matched_iou([one, other], [one]) == 0.5  # one too many
    assert matched_iou([other, one], [one, other]) == 1  # whatever their order
    found = scored("iou", "[0, 0, 2, 2]", "<answer>[1, 1, 3, 3]</answer>", "(0,0),(2,2)", "there")
    assert found == pytest.approx([1 / 7, 1, 0])
    with pytest.raises(DataError, match="expected boxes as"):
        scored("iou", "on the left", "[1, 2, 3, 4]")


def test_format():
    good = ["<think>It is.</think><answer>5</answer>", " <think>a\nb</think>\n<answer>5</answer>\n"]
    bad = [
        "5",
        "<answer>5</answer>",
        f"Well, {good[0]}",
        f"{good[0]}.",
        good[0] + good[0],
        "<think><think></think>",
    ]
    assert scored("format", None, *good, *bad) == [1] * 2 + [0] * 6
    assert scored("format", None, "Yes, a dog.", "yes", reward_format=r"(Yes|No), .*\.") == [1, 0]


def test_length():
    """From 4 to 10 words nothing is taken off; 1 word is 3 of 4 too few, 15 are 5 of 10 too many."""
    texts = [" ".join(["word"] * number) for number in (0, 1, 4, 10, 15, 20, 99)]
    assert scored("length", None, *texts, reward_length=[4, 10]) == [-1, -0.75, 0, 0, -0.5, -1, -1]


def sleeps(record, responses):
    time.sleep(20)


def fails(record, responses):
    return responses[7]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sleeps", "gave no answer in 0.2 s; expected one, or a higher --reward_timeout_s, for test"),
        ("fails", r"failed with IndexError: list index out of range, for test\[0\] \(7\)"),
    ],
)
def test_a_function_that_hangs_or_fails_ends_with_its_name(name, message):
    started = time.monotonic()
    with pytest.raises(DataError, match=f"reward {__name__}:{name}: {message}"):
        scored(f"{__name__}:{name}", None, "a", reward_timeout_s=0.2)
    assert time.monotonic() - started < 5
