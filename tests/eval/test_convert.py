"""Official answer files: written field by field, and read back to the same predictions."""

import json

import pytest

from eval.convert import ConvertConfig, main
from eval.score import ScoreConfig
from eval.score import main as score
from tests.eval.conftest import lines
from training.utils.data.record import DataError

POPE = [{"question_id": n, "image": "a.jpg", "text": f"Is it {n}?", "label": "yes"} for n in (1, 2)]
MMHAL = [
    {
        "question_type": "a",
        "image_content": ["cat"],
        "question": f"What {n}?",
        "gt_answer": "x",
        "image_src": "",
    }
    for n in (1, 2)
]
HALBENCH = [{"image_id": 40 + n, "question_id": n, "question": f"Describe {n}."} for n in (1, 2)]
NUMBERS = [{"id": str(n), "prompt": f"Q{n}", "response": f"A{n}"} for n in (1, 2)]
CASES = {  # truth, predictions, official answers
    "llava": (
        None,
        NUMBERS,
        lines(*({"question_id": n, "prompt": f"Q{n}", "text": f"A{n}"} for n in (1, 2))),
    ),
    "pope": (
        POPE,
        [{"id": f"truth/{n}", "prompt": f"Is it {n}?", "response": f"A{n}"} for n in (1, 2)],
        lines(*({"question": f"Is it {n}?", "answer": f"A{n}"} for n in (1, 2))),
    ),
    "amber": (None, NUMBERS, [{"id": 1, "response": "A1"}, {"id": 2, "response": "A2"}]),
    "mmhal": (
        MMHAL,
        [{"id": str(n - 1), "prompt": f"What {n}?", "response": f"A{n}"} for n in (1, 2)],
        [record | {"model_answer": f"A{n}"} for n, record in enumerate(MMHAL, 1)],
    ),
    "halbench": (
        HALBENCH,
        [{"id": str(n), "prompt": f"Describe {n}.", "response": f"A{n}"} for n in (1, 2)],
        lines(*({"image_id": 40 + n, "question": f"Describe {n}.", "answer": f"A{n}"} for n in (1, 2))),
    ),
}


@pytest.mark.parametrize("form", CASES)
def test_predictions_and_official_answers_say_the_same(form, write, tmp_path):
    truth, predictions, official = CASES[form]
    files = {"truth": [str(write("truth.json", truth))]} if truth else {}
    given = write("p.jsonl", lines(*predictions))
    main(ConvertConfig(str(given), str(tmp_path / "official"), writes=form, **files))
    written = (tmp_path / "official").read_text()
    assert (written if isinstance(official, str) else json.loads(written)) == official
    back = tmp_path / "back.jsonl"
    main(ConvertConfig(str(tmp_path / "official"), str(back), reads=form, **files))
    found = [json.loads(line) for line in back.read_text().splitlines()]
    keep = ("id", "response", "prompt") if truth else ("id", "response")
    assert found == [{name: line[name] for name in keep} for line in predictions]


def test_pope_answers_of_another_model_are_scored(write, tmp_path):
    truth = str(write("coco_pope_random.json", lines(*POPE)))
    answers = write("a.json", lines(*({"question": q["text"], "answer": "Yes"} for q in POPE)))
    main(ConvertConfig(str(answers), str(tmp_path / "p.jsonl"), reads="pope", truth=[truth]))
    score(ScoreConfig("pope", [truth], str(tmp_path / "p.jsonl"), str(tmp_path / "s.json")))
    assert json.loads((tmp_path / "s.json").read_text())["metrics"]["accuracy"] == 100


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "expected either --reads FORM or --writes FORM"),
        ({"reads": "mme"}, "mme: unknown form; expected one of llava, pope"),
        ({"reads": "pope"}, "--truth: missing; the form pope needs"),
        ({"reads": "llava"}, r"a.json\[0\]: lacks `question_id`; found answer, question"),
        ({"reads": "pope", "truth": "t.json"}, "1 answers to 2 questions; expected one to each"),
        (
            {"reads": "pope", "truth": "one.json"},
            "answer 0 is to 'Is it 2.', and the question there is 'Is it 1",
        ),
        ({"reads": "pope", "truth": "one.json", "input": "null.json"}, "answer 0 is to 'None'"),
        ({"reads": "halbench", "truth": "halbench.json"}, "entry 0: image_id 'x' is no number"),
        ({"writes": "pope", "truth": "t.json", "input": "p.jsonl"}, "question t/1 has no answer"),
        ({"writes": "amber", "input": "p.jsonl"}, "id 9: 2 samples; expected one answer"),
        ({"reads": "llava", "output": "a.json"}, "a.json: is there already; choose another"),
    ],
)
def test_what_can_not_be_converted_is_told(config, message, write, tmp_path):
    write("a.json", lines({"question": "Is it 2.", "answer": "Yes"}))
    write("t.json", POPE)
    write("one.json", POPE[:1])
    write("null.json", lines({"question": None, "answer": "Yes"}))
    write("halbench.json", lines({"image_id": "x", "question": "?"}))
    write("p.jsonl", lines({"id": "9", "responses": ["a", "b"]}))
    given = {"input": "a.json", "output": "out.json"} | config
    paths = {name: str(tmp_path / given.pop(name)) for name in ("input", "output")}
    truth = [str(tmp_path / given.pop("truth"))] if "truth" in given else []
    with pytest.raises(DataError, match=message):
        main(ConvertConfig(**paths, **given, truth=truth))
