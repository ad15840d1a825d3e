"""Official files as people have them: another folder, other names of pictures, stray files beside them."""

import json

import pytest

from eval.benches.coco_names import on_disk
from eval.benches.table import BENCHES
from eval.prompts import entries_of
from tests.conftest import picture
from tests.eval.conftest import lines
from training.utils.data.record import DataError


def asked(bench, folder):
    return BENCHES[bench].questions([str(folder)])


POPE = {"question_id": 1, "image": "COCO_val2014_000000000042.jpg", "text": "Is there a cat?", "label": "yes"}


@pytest.mark.parametrize("root", ["", "output", "output/coco"])
def test_popes_repository_is_read_from_its_root(root, write, tmp_path):
    write("output/coco/coco_pope_random.json", lines(POPE))
    write("output/coco/coco_co_occur.json", {"cat": ["dog"]})
    write("output/coco/coco_ground_truth_objects.json", {"cat": 3})
    write("output/seem/gqa/gqa_pope_seem_random.json", lines(POPE))
    assert [question.id for question in asked("pope", tmp_path / root)] == ["coco_pope_random/1"]


def test_ambers_repository_is_read_from_its_root(write, tmp_path):
    write("data/annotations.json", [{"id": 3, "type": "discriminative-relation", "truth": "no"}])
    write("data/query/query_all.json", [{"id": 3, "image": "AMBER_3.jpg", "query": "?"}])
    assert asked("amber_discriminative", tmp_path) == asked("amber_discriminative", tmp_path / "data")


@pytest.mark.parametrize("name", ["._coco.json", ".json", "readme.json", "README.jsonl", "LICENSE.json"])
def test_stray_files_are_left_out_by_name(name, write):
    write(f"data/{name}", "no json at all {")
    folder = write("data/coco_pope_random.json", lines(POPE)).parent
    assert len(asked("pope", folder)) == 1
    assert len(BENCHES["pope"].questions([str(folder / "coco_pope_random.json")])) == 1


def test_a_folder_of_stray_files_alone_is_told(write):
    with pytest.raises(DataError, match=r"holds no .json or .jsonl file"):
        asked("pope", write("data/._x.json", "{").parent)


TURNS = [{"from": "human", "value": "<image>\nWhich?\nOptions: (A) a (B) b"}, {"from": "gpt", "value": "B"}]


@pytest.mark.parametrize("name", ["llava_test.json", "llava_test.txt", "llava_test.jsonl"])
def test_science_qa_in_llavas_form_is_read_from_its_folder(name, write):
    record = {"id": "4", "image": "4/image.png", "conversations": TURNS, "label": "B"}
    content = lines(record) if name.endswith("l") else json.dumps([record])
    write("sqa/readme.json", "{}")
    (question,) = asked("science_qa", write(f"sqa/{name}", content).parent)
    assert (question.id, question.truth, question.images) == ("4", "B", ("4/image.png",))


NAME, VAL, TRAIN = (f"{prefix}000000000042.jpg" for prefix in ("", "COCO_val2014_", "COCO_train2014_"))


@pytest.mark.parametrize("have", [NAME, VAL, TRAIN, f"val2014/{VAL}", f"train2017/{NAME}"])
@pytest.mark.parametrize("given", [NAME, VAL, TRAIN, f"coco/{NAME}"])
def test_a_picture_of_coco_is_found_under_each_of_its_names(given, have, write, tmp_path):
    write(have, "")
    assert on_disk(given, tmp_path) == have


def test_pictures_and_files_that_an_archive_left_a_folder_deeper_are_found(write, tmp_path):
    """As AMBER's `image/`, ScienceQA's `test/`, COCO's `annotations/`, and a clone."""
    write("images/image/AMBER_1.jpg", "")
    assert on_disk("AMBER_1.jpg", tmp_path / "images") == "image/AMBER_1.jpg"
    write("own/thumbs/a.png", "")
    write("own/b.png", "")
    assert on_disk("a.png", tmp_path / "own") == "a.png"  # may be another picture of that name
    for split in ("train", "test"):
        write(f"two/{split}/4/image.png", "")
    write("two/test/5/image.png", "")
    assert on_disk("5/image.png", tmp_path / "two") == "test/5/image.png"
    assert on_disk("4/image.png", tmp_path / "two") == "4/image.png"
    write("pope/POPE/output/coco/coco_pope_random.json", lines(POPE))
    write("pope/.DS_Store", "")
    assert [question.id for question in asked("pope", tmp_path / "pope")] == ["coco_pope_random/1"]
    write("chair/annotations/caps_boxes.jsonl", lines(CAPS))
    assert len(asked("chair", tmp_path / "chair")) == 1


def test_a_picture_keeps_its_name_where_it_is_there_is_none_of_cocos_or_is_nowhere(write, tmp_path):
    write(VAL, "")
    write(f"a/{NAME}", "")
    assert on_disk(f"a/{NAME}", tmp_path) == f"a/{NAME}"
    assert on_disk("42.jpg", tmp_path) == "42.jpg"
    assert on_disk(f"edited/{NAME}", tmp_path) == f"edited/{NAME}"
    assert on_disk("000000000043.jpg", tmp_path) == "000000000043.jpg"


CAPS = {"image": NAME, "captions": ["A cat."], "instances": [{"category": "cat", "bbox": [0, 0, 1, 1]}]}
LLAVA = {
    "qa90_questions.jsonl": {"question_id": 0, "image": NAME, "text": "?", "category": "conv"},
    "qa90_gpt4_answer.jsonl": {"question_id": 0, "text": "cat"},
    "caps_boxes_coco2014_val_80.jsonl": CAPS,
}


@pytest.mark.parametrize(
    ("bench", "files", "have"),
    [
        ("pope", {"a.json": POPE}, NAME),
        ("chair", {"caps_boxes.jsonl": CAPS}, VAL),
        ("llava_bench", LLAVA, VAL),
        ("object_halbench", {"q.jsonl": {"image_id": 42, "question": "?"}, "caps.jsonl": CAPS}, TRAIN),
    ],
)
def test_each_benchmark_on_coco_finds_its_pictures(bench, files, have, write, tmp_path):
    for name, line in files.items():
        write(f"data/{name}", lines(line))
    picture().save(write(f"images/{have}", b""))
    entries = entries_of(bench, str(tmp_path / "data"), str(tmp_path / "images"))
    assert [entry["image"] for entry in entries] == [[have]]
