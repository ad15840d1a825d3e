"""What `scripts/bench_trl.sh` times on, and how it sums up, without TRL."""

from unittest.mock import patch

import pytest

from scripts.bench_trl import steps as of_steps
from scripts.bench_trl.__main__ import HEAD, line, other, ratio
from scripts.bench_trl.setting import (
    ANSWER_WORDS,
    CASES,
    PROMPT_WORDS,
    PROMPTS,
    SIZES,
    STEPS,
    flags_of,
    settings_of,
    write_inputs,
)
from scripts.bench_trl.steps import Steps
from scripts.compare_trl_ours import MicroBatches


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("bench"), SIZES["tiny"])


@pytest.mark.parametrize(("name", "num_answers"), [("dpo", 2), ("rm", 4)])
def test_records_have_the_lengths_that_the_page_names(model, tmp_path, name, num_answers):
    batches = MicroBatches(flags_of(CASES[name], model, tmp_path))
    assert [len(trees) for trees in batches.trees] == [PROMPTS] * STEPS
    trees = [tree for trees in batches.trees for tree in trees]
    assert {len(tree.responses) for tree in trees} == {num_answers}
    assert {len(response.ids) for tree in trees for response in tree.responses} == {ANSWER_WORDS + 1}
    num_image_tokens = (SIZES["tiny"].picture_px // 14) ** 2
    for tree in trees:  # what the template adds, and a first word without a space before it
        assert 5 < len(tree.prompt_ids) - num_image_tokens - PROMPT_WORDS < 12


def test_a_step_is_from_one_end_to_the_next_and_a_model_saved_between_epochs_is_in_none():
    """Steps of 1 s and 2 s of processor time, and 50 s for a model after the fourth."""
    ends = [1.0, 2, 3, 4, 55, 56, 57, 58]
    steps = Steps()
    with (
        patch.object(of_steps.time, "perf_counter", side_effect=ends),
        patch.object(of_steps.time, "process_time", side_effect=[2 * end for end in ends]),
    ):
        for number in range(8):
            steps.losses.append(float(number))
            steps.mark()
    last = steps.of_last_epoch(4)
    assert (last.wall, last.cpu, last.wall_s, last.losses) == (1, 2, [1, 1, 1], [4, 5, 6, 7])


def test_a_line_holds_the_medians_of_the_ratios_of_each_round():
    assert ratio([(1.0, 6.0), (2.0, 10.0), (1.0, 9.0)]) == "6.0 (5.0 to 9.0)"
    rounds = [
        {
            ("dpo", "ours"): Steps([], [1.0], [2.0], 1.6),
            other("dpo"): Steps([], [wall], [8.0], 4.6),
        }
        for wall in (6.0, 7.0, 9.0)
    ]
    cells = [cell.strip() for cell in line("dpo", rounds).split("|")[1:-1]]
    assert cells == [
        "DPO, 2 answers",
        "DPOTrainer",
        "1.00 / 7.00",
        "7.0 (6.0 to 9.0)",
        "4.0 (4.0 to 4.0)",
        "1.6 / 4.6",
        "7",
    ]
    assert HEAD.splitlines()[0].count("|") == len(cells) + 1


def test_both_sides_are_asked_for_the_same(model, tmp_path):
    for name in ("dpo", "grpo"):
        mine, theirs = flags_of(CASES[name], model, tmp_path), settings_of(CASES[name], tmp_path)
        for both in ("weight_decay", "max_grad_norm", "adam_beta2", "lr_scheduler_type"):
            assert getattr(mine, both) == theirs[both]
        assert theirs["max_steps"] == STEPS
    assert mine.num_generations == theirs["num_generations"] == 8
    assert mine.per_device_train_batch_size * 8 == theirs["per_device_train_batch_size"]
    assert mine.kl_coef == theirs["beta"] and mine.actor_learning_rate == theirs["learning_rate"]
    assert mine.max_generation_length_of_sampling == theirs["max_completion_length"]
    assert other("dpo_cached") == other("dpo")
