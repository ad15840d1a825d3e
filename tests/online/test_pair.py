"""Answers and scores become records that the stages read."""

import json

import pytest

from tests.conftest import load_records, picture
from training.online.pair import PairConfig, main
from training.utils.config.flags import ConfigError
from training.utils.data.record import DataError
from training.utils.files import jsonl


@pytest.fixture
def sampled(tmp_path):
    picture().save(tmp_path / "a.png")
    asked = [{"from": "human", "value": "<image>\nWhat?"}]
    answers = {"x": ["A cat.", "A dog and a cat.", "A cat.", "A dog."], "y": ["Same.", "Same. "]}
    lines = [
        {"id": name, "image": ["a.png"], "conversations": [*asked, {"from": "gpt", "value": texts}]}
        for name, texts in answers.items()
    ]
    scores = [{"id": "x", "scores": [2.0, 1.0, 2.0, -1.0]}, {"id": "y", "scores": [1.0, 0.0]}]
    for name, content in (("samples", lines), ("scores", scores)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in content))
    return tmp_path


def made(folder, min_responses=2, **more):
    files = {name: str(folder / f"{name}.jsonl") for name in ("samples", "scores")}
    main(PairConfig(**files, output=str(folder / "train.jsonl"), **more))
    return load_records(folder / "train.jsonl", min_responses=min_responses)


def test_pairs_are_records_and_equal_answers_are_one(sampled):
    (record,) = made(sampled)  # both answers to y are the same
    assert record.responses == ("A cat.", "A dog.") and record.scores == (2, -1)
    assert record.id == "x" and record.images[0].name == "a.png"
    summary = json.loads((sampled / "train.summary.json").read_text())
    counts = {"prompts": 2, "answers": 6, "different_answers": 4, "records": 1, "prompts_used": 1}
    assert summary | counts == summary
    assert summary["score_of_all"] == pytest.approx((2 + 1 + 2 - 1 + 1 + 0) / 6)
    assert summary["words_of_all"] == pytest.approx((2 + 5 + 2 + 2 + 1 + 1) / 6)
    assert (summary["words_of_best"], summary["words_of_worst"]) == (2, 2)


def test_the_mean_score_is_that_of_all_answers_whichever_are_alike(sampled):
    (sampled / "samples.jsonl").write_text(
        json.dumps(
            {
                "id": "x",
                "conversations": [
                    {"from": "human", "value": "What?"},
                    {"from": "gpt", "value": ["A cat.", "A cat.", "A dog."]},
                ],
            }
        )
        + "\n"
    )
    (sampled / "scores.jsonl").write_text(json.dumps({"id": "x", "scores": [1.0, 0.0, 0.5]}) + "\n")
    made(sampled)
    assert json.loads((sampled / "train.summary.json").read_text())["score_of_all"] == 0.5


def test_several_pairs_of_a_prompt_have_names_of_their_own(sampled):
    records = made(sampled, pick="pairs", pairs_per_prompt=9)
    assert [record.id for record in records] == ["x", "x-1", "x-2"]
    assert {record.responses for record in records} == {
        ("A cat.", "A dog and a cat."),
        ("A cat.", "A dog."),
        ("A dog and a cat.", "A dog."),
    }
    records = made(sampled, pick="pairs", pairs_per_prompt=9, balance_lengths=True)
    # Words: 2 and 5, 2 and 2, 5 and 2, so 3 and 3 in the mean; without the first 3.5 and 2.
    assert len(records) == 3


def test_all_answers_are_ranked_or_the_best_is_imitated(sampled):
    (record,) = made(sampled, pick="ranked")
    assert record.responses == ("A cat.", "A dog and a cat.", "A dog.")
    records = made(sampled, pick="best", min_responses=1)
    assert [record.responses for record in records] == [("A cat.",), ("Same.",)]
    (record,) = made(sampled, pick="best", least_score=1.5, min_responses=1)
    assert record.id == "x"


def test_the_same_seed_draws_the_same_pairs(sampled):
    drawn = [
        made(sampled, pick="pairs", pairs_per_prompt=1, seed=seed)[0].responses for seed in (1, 1, 2, 3, 4)
    ]
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:1], "holds 1 lines, and .*samples.jsonl 2 records"),
        (lambda lines: lines[::-1], "line 1 has id=y"),
        (lambda lines: [{"id": "x", "scores": [1.0]}, lines[1]], "expected 4 for id=x"),
        (lambda lines: [{"id": "x", "scores": [1, 2, 3, None]}, lines[1]], "expected finite numbers"),
        (lambda lines: [{"id": "x"}, lines[1]], "has no 'scores'"),
        (
            lambda lines: [line | {"scores": [0.0] * len(line["scores"])} for line in lines],
            "nothing to learn",
        ),
    ],
)
def test_scores_of_others_are_refused(sampled, change, message):
    file = sampled / "scores.jsonl"
    lines = change(jsonl.read(file))
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match=message):
        made(sampled)
    assert not (sampled / "train.jsonl").exists()


def test_a_reward_that_never_differs_has_no_best_answer_but_one_that_is_good_enough(sampled):
    scores = [{"id": "x", "scores": [1.0] * 4}, {"id": "y", "scores": [0.0] * 2}]
    (sampled / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in scores))
    with pytest.raises(DataError, match="nothing to learn of 2 prompts"):
        made(sampled, pick="best", min_responses=1)
    assert [record.id for record in made(sampled, pick="best", least_score=0.5, min_responses=1)] == ["x"]


def test_settings_that_mean_nothing_are_refused(sampled):
    for more in (
        {"pick": "worst"},
        {"least_score": 1.0},
        {"pick": "best", "balance_lengths": True},
        {"margin": -1},
    ):
        with pytest.raises(ConfigError):
            made(sampled, **more)
