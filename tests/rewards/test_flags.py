"""`--rewards` names all rewards at once, with their weights."""

import pytest

from training.utils.config.arguments import parse_args
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.rewards_config import split_weight

GIVEN = "--from_checkpoint a --data_path b --output_dir c --critic_init policy "


def parsed(more: str) -> PPOConfig:
    return parse_args(PPOConfig, (GIVEN + more).split())


def test_it_stands_for_the_flags_of_each_kind():
    short = parsed(
        "--rewards length:1e-1 m/rm:-2e-3 http://h:80/x:-1.5 f.g:h chair chat+http://h/v1:3 "
        "--truth t --reward_judge_model m"
    )
    long = parsed(
        "--reward_model_ckpt_path m/rm --reward_functions length f.g:h chair --reward_endpoints http://h:80/x "
        "chat+http://h/v1 --reward_weights -0.002 0.1 1 1 -1.5 3 --truth t --reward_judge_model m"
    )
    assert short == long


@pytest.mark.parametrize(
    ("word", "name", "weight"),
    [
        ("chair", "chair", "1"),
        ("chair:0.7", "chair", "0.7"),
        ("m/rm:-1e-2", "m/rm", "-1e-2"),
        ("my.mod:f", "my.mod:f", "1"),
        ("my.mod:f:2", "my.mod:f", "2"),
        ("http://h:80", "http://h:80", "1"),
        ("https://h:80/score:.5", "https://h:80/score", ".5"),
        ("chat+http://h:80", "chat+http://h:80", "1"),
        ("chat+https://h:80/v1:-2", "chat+https://h:80/v1", "-2"),
    ],
)
def test_a_weight_is_the_number_behind_the_last_colon_that_is_no_port(word, name, weight):
    assert split_weight(word) == (name, weight)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--rewards", "--rewards: expected names"),
        ("--rewards chiar", "--rewards chiar: unknown; expected one of amber, boxed, chair,"),
        ("--rewards exact --reward_weights 2", "--rewards: not with --reward_weights, which it stands for"),
        ("--reward-functions a:b --rewards exact", "--rewards: not with --reward_functions"),
        ("--rewards exact --rewards number", "--rewards: given more than once"),
        ("--rewards exact:2 exact", "exact: given as a reward twice"),
        ("--rewards chair", "--truth: missing; --rewards chair compares answers"),
        ("--reward_functions chiar", "--reward_functions chiar: unknown; expected module:function or one of"),
        ("--rewards format --reward_format (", "--reward_format (: missing )"),
        ("--rewards length --reward_length 9 3", "--reward_length 9 3: expected the fewest and the most words"),
        ("--rewards exact --reward_timeout_s 0", "--reward_timeout_s 0: expected more than 0"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(more, message, capsys):
    with pytest.raises(SystemExit):
        parsed(more)
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
