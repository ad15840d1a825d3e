"""Prediction from official files, what becomes of bad records, and going on with a run."""

import json

import pytest

from eval.predict import main as predict
from eval.predictions import Lines, prediction
from eval.score import ScoreConfig
from eval.score import main as score
from tests.conftest import picture, record
from tests.eval.conftest import lines
from training.utils.config.flags import ConfigError
from training.utils.config.stage_config import PredictConfig
from training.utils.data.record import DataError


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        picture(len(name)).save(tmp_path / "images" / name)
    (tmp_path / "images" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "images"


def pope(*images: str) -> str:
    return lines(
        *(
            {"question_id": number, "image": image, "text": "Is there a cat in the image?", "label": "yes"}
            for number, image in enumerate(images, 1)
        )
    )


def settings(tiny_llava, data, images, **more) -> PredictConfig:
    given = {"max_new_tokens": 4, "max_seq_len": 128, "batch_size": 2, "bench": "pope"} | more
    return PredictConfig(
        from_checkpoint=str(tiny_llava),
        data_path=str(data),
        image_folder=str(images),
        output_path=str(data.parent / "out" / "p.jsonl"),
        **given,
    )


def read(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("num_beams", [1, 2])
def test_official_files_are_answered_and_scored_through_one_load(
    num_beams, tiny_llava, images, write, tmp_path
):
    file = write("coco_pope_random.json", pope("a.png", "b.png", "a.png"))
    predict(settings(tiny_llava, file, images, num_beams=num_beams))
    answered = read(tmp_path / "out" / "p.jsonl")
    assert [line["id"] for line in answered] == [f"coco_pope_random/{number}" for number in (1, 2, 3)]
    assert answered[0]["prompt"] == "<image>\nIs there a cat in the image?" and answered[0]["label"] == "yes"
    score(ScoreConfig("pope", [str(file)], str(tmp_path / "out" / "p.jsonl"), str(tmp_path / "s.json")))
    result = json.loads((tmp_path / "s.json").read_text())
    assert (result["answered"], result["asked"]) == (3, 3)
    assert result["generation"]["max_new_tokens"] == 4 and result["generation"]["num_beams"] == num_beams


def test_bad_records_are_all_listed_with_their_reasons_and_end_the_run(tiny_llava, images, write, tmp_path):
    text = pope("a.png", "broken.png", "none.png", "b.png").replace("a cat in", "a cat in " * 30 + "in", 1)
    file = write("coco.json", text)
    config = settings(tiny_llava, file, images)
    with pytest.raises(
        DataError, match=r"3 of 4 records can't be used; .*p.failed.jsonl lists them; the first: "
    ):
        predict(config)
    failed = read(tmp_path / "out" / "p.failed.jsonl")
    assert [line["id"] for line in failed] == ["coco/1", "coco/2", "coco/3"]
    for line, reason in zip(failed, ("the prompt takes", "is not a picture", "is not in"), strict=True):
        assert reason in line["reason"]
    assert not (tmp_path / "out" / "p.jsonl").exists()

    predict(settings(tiny_llava, file, images, on_bad_record="skip"))
    assert [line["id"] for line in read(tmp_path / "out" / "p.jsonl")] == ["coco/4"]

    file.write_text(pope("a.png", "b.png", "a.png", "b.png"))  # mended: the answer that is there still counts
    predict(config)
    assert [line["id"] for line in read(tmp_path / "out" / "p.jsonl")] == [f"coco/{n}" for n in (1, 2, 3, 4)]
    assert not (tmp_path / "out" / "p.failed.jsonl").exists()


def test_a_run_does_not_go_on_with_other_settings(tiny_llava, images, write):
    file = write("coco.json", pope("a.png"))
    predict(settings(tiny_llava, file, images))
    with pytest.raises(DataError, match=r"p.jsonl: was begun with --max_new_tokens 4, and this run has 5"):
        predict(settings(tiny_llava, file, images, max_new_tokens=5))


def test_beams_do_not_go_with_samples(tiny_llava, images, write):
    with pytest.raises(ConfigError, match="--num_beams 2: expected 1 with --temperature above 0"):
        settings(tiny_llava, write("coco.json", pope("a.png")), images, num_beams=2, temperature=1.0)


def test_lines_find_their_prompts_whatever_else_was_answered(tmp_path):
    """Two records of one id and text count by their order; a line that was cut off is answered again."""
    asked = [record("Why?", images=()), record("Why?", images=()), record("How?", images=())]
    output = tmp_path / "p.jsonl"
    whole = (
        json.dumps(prediction(asked[2], ["c"], None))
        + "\n"
        + json.dumps(prediction(asked[0], ["a"], None))
        + "\n"
    )
    part = tmp_path / ".p.jsonl.part-0"
    part.write_text(whole + '{"id": "r", "prom')
    begun = Lines(output, asked)
    assert begun.done == {0, 2}
    begun.write(prediction(asked[1], ["b"], None))
    parts = part.read_text()
    for _ in range(2):  # at last as where a run was killed between the whole file and the parts' removal
        begun.merge()
        assert [line["response"] for line in read(output)] == ["a", "b", "c"]
        assert not part.exists()
        part.write_text(parts)
        begun = Lines(output, asked)
        assert not begun.todo


def test_answers_to_other_prompts_are_refused_not_counted(tmp_path):
    output = tmp_path / "p.jsonl"
    output.write_text(json.dumps(prediction(record("Who?", images=()), ["x"], None)) + "\n")
    with pytest.raises(DataError, match="p.jsonl: holds an answer to id=r, which is none of these prompts"):
        Lines(output, [record("Why?", images=())])
