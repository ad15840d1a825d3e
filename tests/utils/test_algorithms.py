"""`--algorithm NAME` sets flags; what is given beside it counts."""

import dataclasses
import re

import pytest

from tests.conftest import ROOT
from training.utils.config.algorithms import ALGORITHMS
from training.utils.config.arguments import parse_args
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig

GIVEN = "--from_checkpoint a --data_path b --output_dir c --reward_functions f:g --critic_init policy"
GIVEN += " --num_generations 4"


def parsed(more: str) -> PPOConfig:
    return parse_args(PPOConfig, f"{GIVEN} {more}".split())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_sets_its_flags_and_nothing_else(name):
    sets = ALGORITHMS[name].sets
    plain = parsed("")
    assert sets.keys() <= {field.name for field in dataclasses.fields(PPOConfig)}
    assert parsed(f"--algorithm {name}") == dataclasses.replace(plain, **sets)


@pytest.mark.parametrize("order", ["--algorithm dapo {}", "{} --algorithm dapo", "{} --algorithm=dapo"])
def test_what_is_given_beside_an_algorithm_counts(order):
    given = "--kl_coef 0.3 --cliprange-high 0.4 --normalize_rewards --dynamic_sampling=2"
    config = parsed(order.format(given))
    assert (config.kl_coef, config.cliprange_high, config.dynamic_sampling) == (0.3, 0.4, 2)
    assert config.normalize_rewards and config.overlong_tokens == 77  # 0.2 of 384, up


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--algorithm drgrpo", "--algorithm drgrpo: unknown; expected one of ppo, rloo, grpo,"),
        ("--algorithm", "--algorithm: expected one argument, one of ppo, rloo"),
        ("--algorithm dapo --algorithm gspo", "--algorithm: given more than once"),
        ("--algorithm grpo --num_generations 1", "--num_generations 1: expected 2 or more with"),
        ("--algorithm gdpo --num_generations 1", "--normalize_each_reward: needs --num_generations 2"),
        ("--algorithm ppo --ratio_level sequence", "--ratio_level sequence: not with --advantage_estimator gae"),
        ("--algorithm sapo --cliprange_high 0.3", "--cliprange_high: not with --policy_loss sapo"),
        ("--algorithm rloo --kl_gradient k2", "--kl_gradient k2: the KL is charged in the reward"),
        ("--overlong_buffer 400", "--overlong_buffer 400: expected 0, a share below 1, or tokens, as many as"),
        ("--policy_loss gspo", "--policy_loss gspo: unknown; expected one of clip, cispo, sapo"),
        ("--loss_aggregation sequence", "--loss_aggregation sequence: unknown; expected one of token, response"),
        ("--policy_loss sapo --sapo_tau_neg 0", "--sapo_tau_pos 1 --sapo_tau_neg 0: expected more than 0"),
    ],
)  # fmt: skip
def test_a_contradiction_is_one_line(more, message, capsys):
    with pytest.raises(SystemExit):
        parsed(more)
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_other_commands_have_no_algorithm(capsys):
    from training.utils.config.stage_config import SFTConfig

    with pytest.raises(SystemExit):
        parse_args(SFTConfig, "--from_checkpoint a --data_path b --output_dir c --algorithm dapo".split())
    assert "--algorithm: unknown flag" in capsys.readouterr().err


def test_the_page_says_what_each_algorithm_sets():
    page = (ROOT / "docs" / "algorithms.md").read_text().split("## Policy optimisation by name")[1]
    page = page.split("\n## ")[0]
    rows = {row[1]: row[0] for row in re.findall(r"^(\| `(\w+)` \|.*)$", page, re.MULTILINE)}
    assert [*rows] == [*ALGORITHMS]
    defaults = {field.name: field.default for field in dataclasses.fields(PPOConfig)}
    for name, algorithm in ALGORITHMS.items():
        assert f"{algorithm.paper}, {algorithm.equation}" in rows[name], name
        for flag, value in algorithm.sets.items():
            if defaults[flag] != value and flag not in (
                "normalize_rewards",
                "reward_clip",
                "missing_eos_penalty",
            ):
                assert f"`{flag} {value}`" in rows[name], (name, flag)


def test_a_config_refuses_the_same():
    with pytest.raises(ConfigError, match="--ratio_level product"):
        dataclasses.replace(parsed(""), ratio_level="product")
