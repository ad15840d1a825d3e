"""Predictions are gone on with only where the same model would make them; and as lines of the original."""

import json
import shutil
from dataclasses import replace
from io import BytesIO
from math import inf, nan

import pytest
from safetensors.torch import load_file, save_file

from eval.predict import main as predict
from eval.predictions import Lines, label_of, prediction
from tests.conftest import picture, record
from training.utils.config.flags import ConfigError
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.stage_config import PredictConfig
from training.utils.data.record import DataError
from training.utils.process.stop import Stopped, requests


@pytest.fixture
def asked(tiny_llava, tmp_path):
    """A model, and two questions: one about a picture, after an earlier turn, and one about none."""
    shutil.copytree(tiny_llava, tmp_path / "model")
    (tmp_path / "images" / "deep").mkdir(parents=True)
    picture().save(tmp_path / "images" / "deep" / "a.png")
    earlier = [{"from": "human", "value": "<image>\nHello."}, {"from": "gpt", "value": "Yes?"}]
    records = [
        {
            "id": "a",
            "image": "deep/a.png",
            "conversations": [*earlier, {"from": "human", "value": "What\nis it?"}],
        },
        {
            "id": "b",
            "image": None,
            "label": "fine",
            "conversations": [{"from": "human", "value": "How are you?"}],
        },
    ]
    (tmp_path / "asked.json").write_text(json.dumps(records))
    return tmp_path


def answers(asked, output="out/p.jsonl", **more) -> list[dict]:
    given = {
        "max_new_tokens": 6,
        "max_seq_len": 256,
        "seed": 1,
        "data_path": str(asked / "asked.json"),
    } | more
    config = PredictConfig(
        from_checkpoint=str(asked / "model"),
        image_folder=str(asked / "images"),
        output_path=str(asked / output),
        **given,
    )
    predict(config)
    file = asked / output
    return [json.loads(line) for line in file.read_text().splitlines()] if file.suffix == ".jsonl" else []


def retrain(folder) -> None:
    file = folder / "model.safetensors"
    save_file({name: tensor.flip(0) for name, tensor in load_file(file).items()}, file, {"format": "pt"})


def test_a_model_that_was_retrained_in_place_is_asked_anew(asked, capsys):
    old = answers(asked)
    retrain(asked / "model")
    capsys.readouterr()
    new = answers(asked)
    told = capsys.readouterr().out
    assert "the answers there are set aside in" in told and "--from_checkpoint: weights" in told
    assert "2 prompts, 0 answered before" in told
    assert new == answers(asked, "fresh/p.jsonl") and new != old
    aside = (asked / "out" / "set-aside-1" / "p.jsonl").read_text()
    assert [json.loads(line) for line in aside.splitlines()] == old
    answers(asked)
    assert "2 prompts, 2 answered before" in capsys.readouterr().out


def test_another_chat_template_is_another_model(asked, capsys):
    answers(asked)
    file = asked / "model" / "chat_template.jinja"
    file.write_text(file.read_text() + "{# #}")
    answers(asked)
    assert "--from_checkpoint: config, tokenizer and processor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "value"), [("max_seq_len", 250), ("precision", "bf16"), ("template", "vicuna")]
)
def test_settings_that_answers_depend_on_are_compared(flag, value, asked):
    answers(asked)
    with pytest.raises(DataError, match=f"p.jsonl: was begun with --{flag} .*, and this run has "):
        answers(asked, **{flag: value})


def test_an_answer_belongs_to_all_turns_and_to_the_picture_itself(asked):
    answers(asked)
    before = (asked / "asked.json").read_text()
    (asked / "asked.json").write_text(before.replace("Yes?", "No?"))
    with pytest.raises(DataError, match="holds an answer to id=a, which is none of these prompts"):
        answers(asked)
    (asked / "asked.json").write_text(before)
    picture(1).save(asked / "images" / "deep" / "a.png")
    with pytest.raises(DataError, match="holds an answer to id=a, which is none of these prompts"):
        answers(asked)


def test_a_picture_inside_a_data_set_is_known_by_its_content():
    def png(number: int) -> bytes:
        file = BytesIO()
        picture(number).save(file, "png")
        return file.getvalue()

    one, two = (prediction(replace(record(), images=(png(number),)), ["x"], None) for number in (0, 1))
    assert one["image"] == two["image"] == ["(40, 30)"] and one["prompt_digest"] != two["prompt_digest"]
    assert (
        one["prompt_digest"] == prediction(replace(record(), images=(png(0),)), ["y"], None)["prompt_digest"]
    )


def test_answers_of_which_nothing_is_known_are_set_aside(asked, capsys):
    answers(asked)
    (asked / "out" / "p.args.json").unlink()
    answers(asked)
    assert "nothing beside them says what made them; expected p.args.json" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["out/p.jsonl", "out/p.res"])
def test_legacy_lines_stand_beside_the_answers_and_never_over_them(output, asked):
    """As predict.py of the original writes them: the image as in the record, None where there is none, one line."""
    answers(asked, output, legacy_output=True)
    kept = [json.loads(line) for line in (asked / "out" / "p.jsonl").read_text().splitlines()]
    legacy = [line.split(" ||| ") for line in (asked / "out" / "p.res").read_text().splitlines()]
    spoken = [line["response"].replace("\n", "\\n") for line in kept]
    assert legacy == [
        ["a", "deep/a.png", "What\\nis it?", spoken[0], "None"],
        ["b", "None", "How are you?", spoken[1], "fine"],
    ]


def test_legacy_lines_do_not_replace_answers_in_json(asked):
    answers(asked, "out/p.res")
    whole = (asked / "out" / "p.res").read_text()
    with pytest.raises(DataError, match=r"p.res: holds predictions as JSON Lines, .* rename it to p.jsonl"):
        answers(asked, "out/p.res", legacy_output=True)
    assert (asked / "out" / "p.res").read_text() == whole


@pytest.mark.parametrize("config_class", [PredictConfig, RewardScoreConfig])
def test_an_output_is_never_the_data(config_class, asked):
    file = str(asked / "asked.json")
    with pytest.raises(ConfigError, match="is also --data_path, which would be written over"):
        config_class(from_checkpoint="x", data_path=file, output_path=f"{asked}/images/../asked.json")


def test_a_request_to_stop_is_heard_between_batches_and_the_answers_so_far_are_kept(asked, monkeypatch):
    def write(self, line):
        original(self, line)
        requests.name = "SIGTERM"

    whole = answers(asked, "whole.jsonl", batch_size=1)
    original = Lines.write
    with monkeypatch.context() as patched:
        patched.setattr(Lines, "write", write)
        with pytest.raises(
            Stopped, match="^SIGTERM asked for it; what is done is kept; to go on, start it again"
        ):
            answers(asked, "stopped.jsonl", batch_size=1)
    requests.name = ""
    (part,) = asked.glob(".stopped.jsonl.part-*")
    assert len(part.read_text().splitlines()) == 1
    assert answers(asked, "stopped.jsonl", batch_size=1) == whole


def labelled(output, label: str, reads_label: bool) -> dict:
    """The line of a question with this label, by a run that goes on from what is there."""
    one = replace(record(), id="q1", label=label)
    lines = Lines(output, [one], label=label_of, reads_label=reads_label)
    for _ in lines.todo:
        lines.write(prediction(one, ["3", "4"], [float(text == label) for text in ("3", "4")]))
    lines.merge()
    return json.loads(output.read_text())


def test_scores_by_a_label_that_was_mended_since_are_not_kept(tmp_path):
    assert labelled(tmp_path / "p.jsonl", "3", True)["response"] == "3"
    assert labelled(tmp_path / "p.jsonl", "3", True)["response"] == "3"
    with pytest.raises(
        DataError, match="id=q1, which is none of these prompts with the labels that its scores depend"
    ):
        labelled(tmp_path / "p.jsonl", "4", True)
    assert labelled(tmp_path / "other.jsonl", "4", True)["response"] == "4"


def test_a_prediction_asks_whether_its_rewards_read_labels(asked):
    file = asked / "asked.json"
    first, second = json.loads(file.read_text())
    for rewards in (["exact"], ["length"]):
        file.write_text(json.dumps([first | {"label": "cat"}, second]))
        more = {"reward_functions": rewards, "max_new_tokens": 1, "output": f"out/{rewards[0]}.jsonl"}
        answers(asked, **more)
        file.write_text(json.dumps([first | {"label": "bird"}, second]))
        if rewards == ["exact"]:
            with pytest.raises(DataError, match="id=a, which is none of these prompts with the labels"):
                answers(asked, **more)
        else:
            assert answers(asked, **more)[0]["label"] == "bird"


def test_a_mended_label_that_no_score_depends_on_stands_in_the_line(tmp_path):
    old = labelled(tmp_path / "p.jsonl", "3", False)
    assert labelled(tmp_path / "p.jsonl", "4", False) == old | {"label": "4"}


@pytest.mark.parametrize("scores", [[nan, 5.0, 1.0], [1.0, 5.0, nan], [1.0, 5.0, -inf]])
def test_a_score_that_is_no_number_is_never_the_best(scores):
    assert prediction(record(), ["a", "b", "c"], scores)["response"] == "b"
