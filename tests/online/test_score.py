"""Answers are scored by every reward, in their order; what is scored is not scored again."""

import json
from dataclasses import replace

import pytest

from tests.conftest import picture
from training.online.score import main
from training.reward_model.score import main as score_by_model
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.sampled_config import SampleScoreConfig
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.loop.prepare import build_encoder, load_ranked
from training.utils.process.stop import Stopped, requests

calls: list[str] = []


def words(record, responses):
    """A reward that remembers what it was asked."""
    calls.append(record.id)
    return [float(len(text.split())) for text in responses]


def counted(record, responses):
    """A reward that says why."""
    return [(float(len(text)), text.upper()) for text in responses]


@pytest.fixture
def sampled(tmp_path):
    picture().save(tmp_path / "a.png")
    asked = [{"from": "human", "value": "<image>\nWhat?"}]
    answers = [["One.", "One two."], ["One two three."], ["One.", "One two three.", "One."]]
    lines = [
        {"id": "same", "image": "a.png", "conversations": [*asked, {"from": "gpt", "value": texts}]}
        for texts in answers  # one id and one question for all: their answers tell them apart
    ]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    calls.clear()
    return tmp_path


def settings(tiny_llava, folder, **more) -> SampleScoreConfig:
    given = {"reward_functions": [f"{__name__}:words"], "batch_size": 1, "max_seq_len": 256} | more
    return SampleScoreConfig(
        from_checkpoint=str(tiny_llava),
        data_path=str(folder / "samples.jsonl"),
        output_path=str(folder / "scores.jsonl"),
        **given,
    )


def test_models_and_functions_are_added_up_and_their_parts_kept(tiny_llava, taste, sampled):
    functions = [f"{__name__}:words", f"{__name__}:counted"]
    more = {"reward_functions": functions, "reward_weights": [2.0, 0.5, 0.0]}
    main(settings(tiny_llava, sampled, reward_model_ckpt_path=[str(taste)], **more))
    score_by_model(
        RewardScoreConfig(
            from_checkpoint=str(taste),
            data_path=str(sampled / "samples.jsonl"),
            output_path=str(sampled / "alone.jsonl"),
            max_seq_len=256,
        )
    )
    lines, alone = jsonl.read(sampled / "scores.jsonl"), jsonl.read(sampled / "alone.jsonl")
    by_words = [[1.0, 2.0], [3.0], [1.0, 3.0, 1.0]]
    assert [line["parts"][f"{__name__}:words"] for line in lines] == by_words
    for line, model, counted in zip(lines, alone, by_words, strict=True):
        expected = [2 * m + w / 2 for m, w in zip(model["scores"], counted, strict=True)]
        assert line["scores"] == pytest.approx(expected, abs=1e-4)
    said = [["ONE.", "ONE TWO."], ["ONE TWO THREE."], ["ONE.", "ONE TWO THREE.", "ONE."]]
    assert [line["said"] for line in lines] == [{f"{__name__}:counted": texts} for texts in said]


def test_a_run_that_was_stopped_goes_on_and_changed_answers_are_scored_anew(tiny_llava, sampled, monkeypatch):
    main(settings(tiny_llava, sampled))
    whole = (sampled / "scores.jsonl").read_text()
    assert len(calls) == 3
    main(settings(tiny_llava, sampled))
    assert len(calls) == 3  # nothing is left to do
    for file in sampled.glob("scores.*"):
        file.unlink()

    def stopping(record, responses):
        if len(calls) == 4:
            monkeypatch.setattr(requests, "name", "SIGTERM")
        return words(record, responses)

    monkeypatch.setattr(f"{__name__}.stopping", stopping, raising=False)
    config = replace(settings(tiny_llava, sampled), reward_functions=[f"{__name__}:stopping"])
    with pytest.raises(Stopped):
        main(config)
    assert len(calls) == 5  # two of three
    monkeypatch.setattr(requests, "name", "")
    main(config)
    assert len(calls) == 6
    assert (sampled / "scores.jsonl").read_text() == whole.replace(":words", ":stopping")

    file = sampled / "samples.jsonl"
    file.write_text(file.read_text().replace("One two three.", "One."))
    main(config)
    assert len(calls) == 9
    assert [line["scores"] for line in jsonl.read(sampled / "scores.jsonl")] == [[1, 2], [1], [1, 1, 1]]


def test_an_answer_is_scored_as_a_whole_or_not_at_all(tiny_llava, sampled):
    file = sampled / "samples.jsonl"
    (line, *_) = jsonl.read(file)
    line["conversations"][-1]["value"] = [f"{'One. ' * 40}Two.", "One."]
    file.write_text(json.dumps(line) + "\n")
    encoder = build_encoder(settings(tiny_llava, sampled), tiny_llava)
    (record,) = load_ranked(settings(tiny_llava, sampled), encoder, min_responses=1)
    prompt_len = len(encoder.encode(record).prompt_ids)
    short = {"max_seq_len": prompt_len + 16}
    with pytest.raises(DataError, match=r"samples.jsonl: 1 answers would lose their ends at --max_seq_len"):
        main(settings(tiny_llava, sampled, **short))
    assert not calls
    main(settings(tiny_llava, sampled, **short, answer_room=200))
    assert jsonl.read(sampled / "scores.jsonl")[0]["scores"] == [41, 1]


def test_a_missing_label_is_told_before_a_model_is_loaded(tiny_llava, sampled):
    lines = jsonl.read(sampled / "samples.jsonl")
    given = [line | {"label": "One."} for line in lines[:2]] + lines[2:]
    (sampled / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in given))
    with pytest.raises(DataError, match="has no label"):
        main(settings(tiny_llava, sampled, reward_functions=["exact"]))
    assert not list(sampled.glob("scores*"))


def test_a_function_whose_code_has_changed_does_not_go_on_with_the_scores_of_the_one_before(
    tiny_llava, sampled, tmp_path, monkeypatch
):
    module = tmp_path / "some_reward.py"
    module.write_text("def one(record, responses):\n    return [1.0 for _ in responses]\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = settings(tiny_llava, sampled, reward_functions=["some_reward:one"])
    main(config)
    module.write_text(module.read_text().replace("1.0", "2.0"))
    with pytest.raises(
        DataError, match="code of --reward_functions some_reward:one [0-9a-f]{12}, and this run"
    ):
        main(config)
