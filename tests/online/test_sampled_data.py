"""Answers as records: whole ones only, pictures found again, parts of the prompts."""

import json
from dataclasses import replace
from io import BytesIO

import pytest

from eval.predict import main as predict
from eval.sampled_data import write_data
from tests.conftest import SAMPLES, load_records, picture, record
from training.utils.config.flags import ConfigError
from training.utils.config.stage_config import PredictConfig
from training.utils.data.images import open_image
from training.utils.data.record import DataError
from training.utils.files import jsonl


def test_what_is_cut_or_empty_is_left_out_and_the_rest_is_read_as_it_was(tmp_path, capsys):
    pictures = [picture(number) for number in range(3)]
    asked = [
        record("<image>\nWhat?", images=(0,)),
        replace(
            record("And <image> or <image>?", images=(1, 2), history=("Hi.", "Yes?")), system="Be short."
        ),
        replace(record("How are you?", images=()), label="fine", origin="chat"),
        record("Who?", images=()),
    ]
    answers = [["A", "B", " "], ["C", "C"], ["D", "E"], ["F"]]
    ended = [[True, False, True], [True, True], None, [False]]
    write_data(asked, answers, ended, tmp_path / "out" / "samples.jsonl", keep_cut=False)
    told = capsys.readouterr().out
    for part in ("3 of 4 prompts", "2 answers were cut off and are left out", "1 are empty", "of 1 prompts"):
        assert part in told
    one, two, three = load_records(tmp_path / "out" / "samples.jsonl", min_responses=1)
    assert [each.responses for each in (one, two, three)] == [("A",), ("C", "C"), ("D", "E")]
    assert two.turns == asked[1].turns and two.system == "Be short."
    assert (three.label, three.origin, three.id) == ("fine", "chat", asked[2].id)
    for name, number in ((one.images[0], 0), (two.images[0], 1), (two.images[1], 2)):
        assert open_image(name).tobytes() == pictures[number].tobytes()

    write_data(asked, answers, ended, tmp_path / "out" / "samples.jsonl", keep_cut=True)
    records = load_records(tmp_path / "out" / "samples.jsonl", min_responses=1)
    assert [each.responses for each in records] == [("A", "B"), ("C", "C"), ("D", "E"), ("F",)]
    with pytest.raises(DataError, match="of 1 prompts no answer is left: 1 were cut off .*--keep_cut"):
        write_data(asked[3:], answers[3:], ended[3:], tmp_path / "none.jsonl", keep_cut=False)
    assert not (tmp_path / "none.jsonl").exists()


OUTPUTS = {"output_path": "answers", "data_output": "samples"}


def settings(tiny_llava, folder, **more) -> PredictConfig:
    given = {"max_new_tokens": 3, "max_seq_len": 256, "temperature": 1.0, "num_return_sequences": 2}
    given |= {"data_path": str(SAMPLES / "ppo.json"), "dataset_samples": "8", "seed": 3, "batch_size": 8}
    given |= {name: str(folder / f"{file}.jsonl") for name, file in OUTPUTS.items()}
    return PredictConfig(from_checkpoint=str(tiny_llava), **(given | more))


def test_parts_of_the_prompts_are_all_of_them_and_pictures_lie_behind_a_link(tiny_llava, tmp_path):
    ids = []
    for number in (1, 2, 3):
        predict(settings(tiny_llava, tmp_path / str(number), part=f"{number}/3", keep_cut=True))
        lines = jsonl.read(tmp_path / str(number) / "answers.jsonl")
        assert all(len(line["ended"]) == 2 for line in lines)
        records = load_records(tmp_path / str(number) / "samples.jsonl", min_responses=1)
        assert [each.id for each in records] == [line["id"] for line in lines]
        assert records[0].images[0].resolve().is_relative_to(SAMPLES / "images")
        assert (tmp_path / str(number) / "pictures").is_symlink()
        ids.append([each.id for each in records])
    assert sorted(map(len, ids)) == [2, 3, 3]
    predict(settings(tiny_llava, tmp_path / "all", keep_cut=True))
    everything = [line["id"] for line in jsonl.read(tmp_path / "all" / "answers.jsonl")]
    assert sorted(sum(ids, [])) == sorted(everything) and len(everything) == 8


def test_an_answer_that_ends_is_known_to(tiny_llava, tmp_path, monkeypatch):
    """Its last token ends it; the other two of the stub do not."""
    stop = None

    def stub(engine, policy, encoder, prompts, config, seeds):
        nonlocal stop
        stop = stop or encoder.tokenizer.eos_token_id
        return [[[10, 11, stop], [10, 11, 12]] for _ in prompts]

    monkeypatch.setattr("eval.predict.answer", stub)
    predict(settings(tiny_llava, tmp_path))
    assert {tuple(line["ended"]) for line in jsonl.read(tmp_path / "answers.jsonl")} == {(True, False)}
    assert {len(each.responses) for each in load_records(tmp_path / "samples.jsonl", min_responses=1)} == {1}


@pytest.mark.parametrize("part", ["0/2", "3/2", "a/2", "2", "1/0", "-1/2"])
def test_a_part_that_is_none_is_refused(tiny_llava, tmp_path, part):
    with pytest.raises(ConfigError, match="--part"):
        settings(tiny_llava, tmp_path, part=part)


def test_more_parts_than_prompts_are_refused(tiny_llava, tmp_path):
    with pytest.raises(DataError, match="8 prompts can't be divided into 9 parts"):
        predict(settings(tiny_llava, tmp_path, part="1/9"))


def test_the_file_may_not_be_one_that_is_read_or_written(tiny_llava, tmp_path):
    for other in (str(SAMPLES / "ppo.json"), str(tmp_path / "answers.jsonl")):
        with pytest.raises(ConfigError, match="--data_output"):
            settings(tiny_llava, tmp_path, data_output=other)


def test_pictures_inside_data_are_written_out(tmp_path):
    content = BytesIO()
    picture(5).save(content, "PNG")
    asked = replace(record(), images=(content.getvalue(),))
    write_data([asked], [["A."]], [[True]], tmp_path / "samples.jsonl", keep_cut=False)
    (line,) = map(json.loads, (tmp_path / "samples.jsonl").read_text().splitlines())
    assert line["image"][0].startswith("pictures-inside/") and line["image"][0].endswith(".png")
    (found,) = load_records(tmp_path / "samples.jsonl", min_responses=1)
    assert found.images[0].read_bytes() == content.getvalue()
