"""A model that says which of two answers is better, with its reasons, as a reward model."""

import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from eval.score import ScoreConfig
from eval.score import main as score_bench
from tests.conftest import RECORDS, SAMPLES, record
from tests.rewards.test_verdict import learned, train_verdicts
from tests.stages.test_variants import settings
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.health import Pair, in_both_orders, pairs_of
from training.reward_model.score import main as score
from training.rewards.kinds import Verdicts, kind_of, require_reward_models
from training.rewards.verdict import FORM, PAIR_FORM, with_critique
from training.rewards.verdict_reader import VerdictReader
from training.rewards.verdict_reward import VerdictReward, compared
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.model.build_model import build_policy, build_value_model


def test_what_place_decides_falls_out_and_scores_are_as_far_apart_as_the_pairs():
    """3 nats for the first answer where it comes first, 1 nat against it where it comes second: 2 for it."""
    torch.testing.assert_close(compared(torch.tensor([[0.0, 3.0], [-1.0, 0.0]])), torch.tensor([1.0, -1.0]))
    worth, bias = torch.tensor([2.0, -1.0, 0.5, 4.5]), 7.0
    shown = worth[:, None] - worth[None] + bias * (1 - torch.eye(4))
    torch.testing.assert_close(compared(shown), worth - 1.5)  # their mean is 1.5


def test_both_answers_are_shown_and_no_picture_of_an_answer():
    asked = PAIR_FORM.asked(RECORDS[0].turns, "A red <image> {other}.", "Blue.")
    assert asked.text == (
        "<image>\nWhat is this?\n\nAnswer A:\nA red (image) {other}.\n\nAnswer B:\nBlue.\n\nWhich answer is better? "
        "Say A or B."
    )
    assert PAIR_FORM.orders(3) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert (
        with_critique(FORM)
        .asked(RECORDS[0].turns, "x")
        .text.endswith("Is this answer right? Say why, then `Verdict: Yes` or `Verdict: No`.")
    )


def test_scores_are_those_of_rows_to_learn_from_in_both_orders(tiny_llava, encoder):
    """Half of how much likelier A is than B where it is shown first, less the same where it is shown second."""
    config = RewardScoreConfig(from_checkpoint=str(tiny_llava), data_path="x", output_path="y")
    reader = VerdictReader(encoder, PAIR_FORM)
    build = {"trainable": False, "verdict": reader.tokens}
    model = build_value_model(config, tiny_llava, encoder.family, **build)
    policy = build_policy(config, tiny_llava, encoder.family, trainable=False)
    collate, of_answers = Collator(encoder, has_images=True), RECORDS[0].responses[:2]
    reward = VerdictReward("judge", model, reader, encoder, has_images=True)

    def log_odds(*answers):
        rows = [encoder.encode(learned(RECORDS[0], verdict, *answers, form=PAIR_FORM)) for verdict in "AB"]
        one = collate(rows)
        a, b = (policy(one)[(one.response == number).nonzero()[len(reader.lead())]] for number in (0, 1))
        return a - b

    with torch.no_grad():
        tree = encoder.encode(replace(RECORDS[0], responses=of_answers))
        scores = reward([tree], collate([tree]))["judge"]
        forth, back = log_odds(*of_answers), log_odds(*of_answers[::-1])
    expected = (forth - back) / 4
    torch.testing.assert_close(scores, torch.cat([expected, -expected]), atol=2e-5, rtol=1e-5)
    assert reward.latest[0].line()["log_odds"][0][1] == pytest.approx(forth.item(), abs=2e-5)


def test_an_answer_without_another_has_no_score_and_that_is_said(tiny_llava, encoder, caplog):
    config = RewardScoreConfig(from_checkpoint=str(tiny_llava), data_path="x", output_path="y")
    reader = VerdictReader(encoder, PAIR_FORM)
    model = build_value_model(config, tiny_llava, encoder.family, trainable=False, verdict=reader.tokens)
    reward = VerdictReward("judge", model, reader, encoder, has_images=False)
    tree = encoder.encode(replace(RECORDS[2], responses=("One.",)))
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        assert reward([tree], None)["judge"].tolist() == [0.0]
    assert "1 of 1 prompts so far have one answer" in caplog.text


def test_answers_that_are_cut_are_counted_and_cut_alike_in_both_orders(encoder, caplog):
    short = Encoder(encoder.processor, encoder.family, encoder.template_name, max_seq_len=160)
    long = record("What?", "word " * 300, "word", images=())
    reader = VerdictReader(short, PAIR_FORM)
    with caplog.at_level(logging.WARNING):
        there, back = reader.ask(long, long.responses).ids
        reader.ask(long, ["a", "b"])
    assert 140 < len(there) <= 159 and len(there) == len(back)
    assert (reader.cut.bad, reader.cut.all) == (1, 4)
    assert "1 of 2 answers so far lost their ends, as --max_seq_len 160 leaves no room" in caplog.text


def test_figures_of_both_orders_worked_by_hand():
    """Right in both; for the first in both; for the second in both; a tie in one order."""
    orders = [(2.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 0.0)]
    pairs = [Pair("a", 0, sum(both), in_orders=both) for both in orders]
    assert in_both_orders(pairs) == {"right": 25.0, "agree": 25.0, "for_first": 50.0}
    three = record("Q", "a", "b", "c")
    shown = [[0.0, 2.0, 3.0], [-1.0, 0.0, 5.0], [4.0, -6.0, 0.0]]
    found = pairs_of([three], [[1.0, 0.0, -1.0]], log_odds=[shown])
    assert [pair.in_orders for pair in found] == [(2.0, 1.0), (3.0, -4.0), (5.0, 6.0)]


@pytest.fixture(scope="module")
def judge(tiny_llava, tmp_path_factory):
    """A model that learned which of two answers fits a picture, and why, the file of pairs, and their folder."""
    told = ["It is there.", "It is not there."]
    folder = tmp_path_factory.mktemp("judge")
    return train_verdicts(folder, tiny_llava, num_steps=240, side_by_side=True, critiques=told)


def test_it_gives_reasons_and_is_right_in_both_orders(judge, capsys):
    model = str(judge / "model")
    assert kind_of(model) is Verdicts
    files = {"data_path": str(judge / "pairs.json"), "image_folder": str(SAMPLES)}
    more = {
        "output_path": str(judge / "scores.jsonl"),
        "health_path": str(judge / "health"),
        "max_seq_len": 256,
    }
    score(RewardScoreConfig(from_checkpoint=model, **files, **more))
    assert "100.0 % right in both orders; the orders agree in 100.0 %" in capsys.readouterr().out
    report = json.loads((judge / "health" / "report.json").read_text())
    assert report["in_both_orders"]["true"] == {"right": 100, "agree": 100, "for_first": 50}
    assert report["accuracy"]["shuffled"] == 0 and report["looks_at_pictures"]
    page = (judge / "health" / "report.md").read_text()
    assert (
        "a verdict, which of two answers is better, with a critique" in page
        and "right in both orders" in page
    )
    line = jsonl.read(judge / "scores.jsonl")[0]
    fine, wrong = "It is there.", "It is not there."
    assert line["said"][model] == [
        f"against 2: Answer A: {fine}\nAnswer B: {wrong}",
        f"against 1: Answer A: {wrong}\nAnswer B: {fine}",
    ]
    assert line["scores"][0] > 0 > line["scores"][1] and line["log_odds"][0][1] > 0 > line["log_odds"][1][0]

    truth, predictions = [str(judge / "pairs.json")], str(judge / "scores.jsonl")
    score_bench(ScoreConfig("preferences", truth, predictions, str(judge / "bench.json")))
    assert json.loads((judge / "bench.json").read_text())["metrics"] == {
        "accuracy": 100,
        "consistent": 100,
        "ties": 0,
    }


def test_it_rewards_groups_of_answers_and_no_lone_ones(judge, tiny_llava, tmp_path):
    model = [str(judge / "model")]
    with pytest.raises(
        DataError, match="says which of two answers is better; expected --num_generations 2 or more"
    ):
        require_reward_models(SimpleNamespace(reward_ensemble=""), model, "--num_generations", 1)
    ppo = {"reward_model_ckpt_path": model, "max_generation_length_of_sampling": 4, "critic_init": "policy"}
    with pytest.raises(DataError, match="expected --num_generations 2 or more, not 1"):
        train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path / "a", **ppo)))
    ppo |= {"max_steps": 1, "num_generations": 3}
    train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path / "b", **ppo)))
    for group in map(json.loads, (tmp_path / "b" / "rollouts.jsonl").read_text().splitlines()):
        first, _, third = group["said"][model[0]]
        assert first.startswith("against 2: ") and "\nagainst 3: " in first and "\nagainst 2: " in third
    line, _ = map(json.loads, (tmp_path / "b" / "log.jsonl").read_text().splitlines())
    assert line["reward_std"] > 0 and line["reward"] == pytest.approx(
        0, abs=1e-5
    )  # a group's scores sum to 0
    with pytest.raises(DataError, match="writes critiques, so each process needs all of it"):
        train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path / "c", **ppo, critic_zero_stage=3)))
