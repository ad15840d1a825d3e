"""A model that says whether an answer is right, as a reward model."""

import json
from dataclasses import replace

import pytest
import torch

from data.verdicts import VerdictsConfig
from data.verdicts import main as write_verdicts
from tests.conftest import RECORDS, SAMPLES, load_records, record
from tests.stages.test_variants import settings
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.score import main as score
from training.rewards.kinds import Scalar, Verdicts, kind_of
from training.rewards.models import captions_for
from training.rewards.verdict import FORM, metadata_of
from training.rewards.verdict_reader import VerdictReader
from training.sft.train_sft import main as train_sft
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.stage_config import SFTConfig
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.record import DataError, TooLongError
from training.utils.files import jsonl
from training.utils.model.build_model import build_policy


def test_the_question_holds_the_prompt_and_the_answer_and_no_picture_of_the_answer():
    asked = FORM.asked(RECORDS[0].turns, "A red <image> {circle}.")
    assert asked.text == (
        "<image>\nWhat is this?\n\nAnswer:\nA red (image) {circle}.\n\nIs this answer right? Say Yes or No."
    )
    talked = FORM.asked(RECORDS[1].turns, "It is blue.")
    assert talked.text.startswith(
        "User: <image> or <image>?\nAssistant: The first.\nUser: And why?\n\nAnswer:\nIt is"
    )


def test_rows_end_in_yes_for_the_best_and_in_no_for_the_worst_answer(tmp_path):
    output = tmp_path / "rows" / "verdicts.jsonl"
    write_verdicts(VerdictsConfig(str(SAMPLES / "reward.json"), str(output)))
    rows = load_records(output, min_responses=1)
    ranked = load_records(SAMPLES / "reward.json", min_responses=2)
    assert len(rows) == 2 * len(ranked)
    for place, each in enumerate(ranked):
        yes, no = rows[2 * place], rows[2 * place + 1]
        assert (yes.responses, no.responses) == (("Yes",), ("No",)) and yes.id != no.id
        for one, answer in ((yes, each.responses[0]), (no, each.responses[-1])):
            assert one.turns == (FORM.asked(each.turns, answer),)
            assert [image.resolve() for image in one.images] == [image.resolve() for image in each.images]


def learned(record, verdict, *answers, form=FORM, critique=""):
    """A record to learn a verdict from."""
    turns = (form.asked(record.turns, *answers),)
    return replace(record, turns=turns, responses=(form.said(verdict, critique),), scores=None)


def test_a_model_remembers_that_it_learned_verdicts(encoder):
    rows = [learned(each, "Yes", text) for each in RECORDS for text in each.responses]
    found = metadata_of([*RECORDS, *rows], encoder)["verdict"]
    assert found["yes"] == "Yes" and "{other}" not in found["text"]
    assert metadata_of(RECORDS, encoder) == {}
    assert metadata_of([replace(rows[0], responses=("Perhaps",))], encoder) == {}


def tree_of(reader, record, answers):
    questions = reader.ask(record, answers)
    return questions.tree([reader.lead()] * len(questions.ids))


def test_scores_are_the_log_odds_of_yes_whoever_shares_the_prompt(tiny_llava, encoder):
    """Those of the policy's own log-probabilities on a row for each answer and verdict."""
    reader = VerdictReader(encoder, FORM)
    config = RewardScoreConfig(from_checkpoint=str(tiny_llava), data_path="x", output_path="y")
    policy = build_policy(config, tiny_llava, encoder.family, trainable=False)
    collate = Collator(encoder, has_images=True)
    trees = [tree_of(reader, each, each.responses) for each in RECORDS]
    first = trees[0]
    whole = encoder.encode(learned(RECORDS[0], "Yes", RECORDS[0].responses[1]))
    assert first.prompt_ids + first.responses[1].ids == (whole.prompt_ids + reader.lead())
    assert len(first.prompt_ids) > 20  # the picture is there once
    model = Verdicts.build(
        type("", (), {"checkpoint": tiny_llava, "encoder": encoder, "reader": reader})(), config
    )
    with torch.no_grad():
        batch = collate(trees)
        scores = model(batch, batch.last_token)
        expected = []
        for each in RECORDS:
            for text in each.responses:
                rows = [encoder.encode(learned(each, verdict, text)) for verdict in ("Yes", "No")]
                one = collate(rows)
                first_tokens = [(one.response == number).nonzero()[len(reader.lead())] for number in (0, 1)]
                yes, no = (policy(one)[place] for place in first_tokens)
                expected.append(yes - no)
    torch.testing.assert_close(scores, torch.cat(expected), atol=2e-5, rtol=1e-5)


def test_an_answer_that_does_not_fit_loses_its_end_and_the_question_stays(tiny_llava, encoder):
    short = Encoder(encoder.processor, encoder.family, encoder.template_name, max_seq_len=160)
    long = record("What?", "word " * 300, "word", images=())
    tree = tree_of(VerdictReader(short, FORM), long, long.responses)
    lengths = [len(tree.prompt_ids) + len(each.ids) for each in tree.responses]
    assert 150 < lengths[0] <= 159
    end = short.decode(tree.responses[0].ids)
    assert "Say Yes or No." in end
    with pytest.raises(TooLongError, match="with the question for a verdict the prompt takes"):
        VerdictReader(short, FORM).ask(record("word " * 300, "a", images=()), ["a"])


def test_the_same_answer_twice_gets_the_same_score(encoder):
    tree = tree_of(VerdictReader(encoder, FORM), RECORDS[2], ["Well.", "Well."])
    assert tree.responses[0].ids == tree.responses[1].ids and len(tree.responses[0].ids) == 1


def test_verdicts_that_are_one_token_are_refused(encoder):
    with pytest.raises(DataError, match="begin alike"):
        VerdictReader(encoder, replace(FORM, no="Yes"))


def train_verdicts(folder, tiny_llava, num_steps, side_by_side=False, **told):
    """A model in `folder` that learns which answer fits which of two pictures, and the file of pairs.

    Args:
        told: what else each pair of answers holds.
    """
    answers = ["A red square.", "A blue star."]
    pictures = [one["image"] for one in json.loads((SAMPLES / "reward.json").read_text())][:2]
    lines = []
    for number in range(22):  # half of them away is the other picture
        which = number % 2
        ranked = [answers[which], answers[1 - which]]
        turns = [{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": ranked}]
        lines.append({"id": str(number), "image": pictures[which], "conversations": turns} | told)
    pairs, rows = folder / "pairs.json", folder / "verdicts.jsonl"
    pairs.write_text(json.dumps(lines))
    write_verdicts(VerdictsConfig(str(pairs), str(rows), str(SAMPLES), side_by_side))
    more = {"image_folder": "", "max_steps": num_steps, "learning_rate": 3e-3, "dataset_samples": "all"}
    train_sft(SFTConfig(**settings(tiny_llava, rows, folder / "model", **more)))
    return folder


@pytest.fixture(scope="module")
def verifier(tiny_llava, tmp_path_factory):
    """A model that learned which answer fits which picture, the file of pairs, and their folder."""
    return train_verdicts(tmp_path_factory.mktemp("verifier"), tiny_llava, num_steps=120)


def test_it_is_scored_as_any_reward_model_and_looks_at_the_pictures(verifier):
    model = str(verifier / "model")
    assert kind_of(model) is Verdicts
    assert captions_for(model, "captions.json") == ""  # those of another reward model
    score(
        RewardScoreConfig(
            from_checkpoint=model,
            data_path=str(verifier / "pairs.json"),
            image_folder=str(SAMPLES),
            output_path=str(verifier / "scores.jsonl"),
            health_path=str(verifier / "health"),
            max_seq_len=256,
        )
    )
    report = json.loads((verifier / "health" / "report.json").read_text())
    assert report["accuracy"]["true"] == 100 and report["looks_at_pictures"]
    assert report["accuracy"]["shuffled"] == 0  # each got the other picture
    lines = jsonl.read(verifier / "scores.jsonl")
    assert all(line["scores"][0] > 0 > line["scores"][1] for line in lines)


def test_policy_optimisation_takes_it_and_no_critic_starts_from_it(verifier, tiny_llava, tmp_path):
    ppo = {"reward_model_ckpt_path": [str(verifier / "model")], "max_generation_length_of_sampling": 4}
    with pytest.raises(DataError, match="no values that a critic could start from; use --critic_init policy"):
        train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path / "a", **ppo)))
    ppo |= {"critic_init": "policy", "max_steps": 1, "num_generations": 2}
    train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path / "b", **ppo)))
    line, _ = map(json.loads, (tmp_path / "b" / "log.jsonl").read_text().splitlines())
    assert line["reward_std"] > 0


def test_a_model_of_no_kind_is_refused(tiny_llava, taste):
    assert kind_of(str(taste)) is Scalar
    with pytest.raises(DataError, match="holds no reward model; expected a value_head.safetensors"):
        kind_of(str(tiny_llava))
