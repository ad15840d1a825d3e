"""Figures that the official scorers gave on 200 made answers (made_answers.py), and ours on the same."""

import csv
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.benches import hallusion_bench, mmrb2, popev2
from eval.benches.table import BENCHES
from tests.eval import made_answers as made
from tests.eval.conftest import lines
from training.utils.data.record import DataError

TOTAL = lambda values: np.array([np.sum(values, dtype=float)])  # noqa: E731


def scored_by(bench, folder, texts, **options):
    """Scored with these answers in the order of the questions; the intervals' figures are the same."""
    asked = BENCHES[bench].questions([str(folder)])
    answers = {question.id: [text] for question, text in zip(asked, texts, strict=True)}
    scored = BENCHES[bench].score(asked, answers, **options)
    again = {name: value[0] for name, value in BENCHES[bench].rates(scored.per_item, TOTAL).items()}
    assert {name: again[name] for name in scored.metrics} == pytest.approx(scored.metrics)
    return asked, scored


def test_hallusion_bench(write):
    """`evaluation.py` with the verdicts that stand beside the answers."""
    entries, texts, verdicts = made.hallusion()
    asked, scored = scored_by("hallusion_bench", write("HallusionBench.json", entries), texts)
    read = {"yes": "1", "no": "0"}
    said = [read.get(hallusion_bench.first(text), "2") for text in texts]
    assert [
        "2" if word == "2" else str(int(word == entry["gt_answer"]))
        for word, entry in zip(said, entries, strict=True)
    ] == verdicts
    assert {name: round(value, 4) for name, value in scored.metrics.items()} == {
        "qAcc": 38.8889,
        "fAcc": 27.0833,
        "aAcc": 70.6731,
        "easy_aAcc": 56.9444,
        "hard_aAcc": 52.1739,
        "yes_bias": 0.4808,
        "fp_ratio": 50.8197,
    }
    assert asked[0].images == ("VD/chart/0_0.png",)
    assert [question.images for question in asked if question.truth["visual_input"] == "0"] == [()] * sum(
        entry["visual_input"] == "0" for entry in entries
    )


def test_mmvp(write):
    """`gpt_grader.py` with a language model that says what stands beside the answers."""
    rows, texts, right = made.mmvp()
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    asked, scored = scored_by("mmvp", write("Questions.csv", text.getvalue()), texts)
    assert [is_right for item in scored.per_item for is_right in item["right"]] == right
    assert scored.metrics["accuracy"] == pytest.approx(47)
    assert (asked[2].prompt, asked[2].images) == (
        "Is it open, or closed? (a) Open (b) Closed",
        ("MMVP Images/3.jpg",),
    )


def test_crpe(write):
    """`eval_crpe.py`, to the two digits that it prints."""
    entries, texts = made.crpe()
    file = write("crpe_relation.jsonl", lines(*entries))
    _, scored = scored_by("crpe", file, texts)
    assert {kind: (round(group["accuracy"], 2), group["n"]) for kind, group in scored.groups.items()} == {
        "subject": (60.00, 25),
        "object": (50.00, 12),
        "predicate": (23.08, 13),
    }
    readable = [text.endswith(".") for text in texts].count(True)
    assert scored.warnings == [
        f"{readable} answers give a letter in more words, which are wrong officially; --parser strict reads it"
    ]
    assert scored.metrics["accuracy"] < scored_by("crpe", file, texts, parser="strict")[1].metrics["accuracy"]


def test_popev2(write):
    """POPE's `evaluate.py` on the same answers, as POPEv2 has no scorer of its own."""
    rows, texts = made.popev2()
    asked, scored = scored_by("popev2", write("annotations.json", rows), texts)
    metrics = scored.metrics
    official = {"accuracy": 75, "precision": 71.1864406779661, "recall": 84, "F1": 77.06422018348624}
    assert {name: metrics[name] for name in official} == pytest.approx(official)
    assert metrics["yes_ratio"] == pytest.approx(59)
    assert scored.groups == {  # of 84, 16, 34 and 66 answers that the official scorer counts
        "normal": {"accuracy": 84, "n": 100},
        "counterfactual": {"accuracy": 66, "n": 100},
    }
    assert [question.images for question in asked[:2]] == [
        ("images/000000000000.jpg",),
        ("coco/train2017/000000000000.jpg",),
    ]


def test_mmrb2(write):
    """`compute_accuracy.py`, to the two digits that it prints."""
    tasks, verdicts = made.mmrb2()
    for task, pairs in tasks.items():
        folder = write(f"data/{task}.json", {"pairs": pairs}).parent
    texts = [made.judgement(said) for task in tasks for both in verdicts[task] for said in both]
    asked, scored = scored_by("mmrb2", folder, texts)
    assert {task: round(group["accuracy"], 2) for task, group in scored.groups.items()} == {
        "edit": 75.86,
        "reasoning": 65.85,
    }
    assert round(scored.metrics["accuracy"], 2) == 71.01
    pairs = [
        (pair["chosen"], said)
        for task in tasks
        for pair, said in zip(tasks[task], verdicts[task], strict=True)
    ]
    exchanged = {"A": "B", "B": "A"}
    consistent = sum(said == (chosen, exchanged[chosen]) for chosen, said in pairs)
    assert scored.metrics["consistent"] == pytest.approx(consistent)
    forward, reverse = asked[:2]
    assert forward.images == ("input_images/0.png", "images/0_a.png") == reverse.images
    assert forward.prompt.index("Here:\n<image>") < forward.prompt.index("It is red.")
    assert reverse.prompt.index("It is red.") < reverse.prompt.index("Here:\n<image>")
    assert {forward.truth, reverse.truth} == {"A", "B"}


def test_the_official_instructions_of_mmrb2_are_shown_where_they_lie_beside_the_pairs(write):
    tasks, _ = made.mmrb2()
    write("data/edit.txt", "Judge for $5.")
    asked = BENCHES["mmrb2"].questions([str(write("data/edit.json", {"pairs": tasks["edit"][:1]}))])
    assert asked[0].prompt == (
        "Judge for $5.\n[ORIGINAL PROMPT TO MODEL:]\nDraw it.\n<image>\n[RESPONSE A:]\nHere:\n<image>\n"
        "[RESPONSE B:]\nIt is red."
    )


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"better_response": "A"}', "A"),
        ("'better_response' : 'B',", "B"),
        ("better_response: B", "B"),
        ('{"better_response": "A or B"}', "A"),
        ("B", "B"),
        ("**A**", "A"),
        ("C", ""),
        ("Both.", ""),
    ],
)
def test_how_a_verdict_of_mmrb2_is_read(text, verdict):
    assert mmrb2.read(text) == verdict


def test_popev2_of_hugging_face(tmp_path):
    row = {"example_id": "e1", "question": "Is there a cup?", "target_object": "cup", "image_id": 3}
    for kind, label in (("normal", "yes"), ("counterfactual", "no")):
        row |= {f"{kind}_image": {"bytes": kind.encode(), "path": None}, f"{kind}_label": label}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "test.parquet")
    asked = BENCHES["popev2"].questions([str(tmp_path)])
    assert [(question.id, question.images, question.truth) for question in asked] == [
        ("e1/normal", (b"normal",), "yes"),
        ("e1/counterfactual", (b"counterfactual",), "no"),
    ]
    assert popev2.score(asked, {"e1/normal": ["Yes"]}).warnings == [
        "1 pairs were answered in part: not scored"
    ]


@pytest.mark.parametrize(
    ("bench", "name", "content", "message"),
    [
        (
            "popev2",
            "a.json",
            made.popev2()[0][:1],
            "labels no; expected a picture with the object and one without",
        ),
        (
            "mmvp",
            "Questions.csv",
            "Question,Options,Correct Answer\n?,(a) b,(a)\n",
            "1 questions; expected pairs",
        ),
        ("mmvp", "Questions.csv", "Question,Options\n?,x\n?,x\n", r"\[0\]: lacks `Correct Answer`"),
        ("crpe", "a.jsonl", lines(*made.crpe()[0][:3]), "3 questions of .*; expected each in 4 turns"),
        (
            "hallusion_bench",
            "a.json",
            [made.hallusion()[0][0] | {"gt_answer": "yes"}],
            "expected 0 .no. or 1",
        ),
        ("mmrb2", "edit.json", {"pairs": [made.mmrb2()[0]["edit"][0] | {"chosen": ""}]}, "expected A or B"),
    ],
)
def test_files_that_are_not_whole_are_told(bench, name, content, message, write):
    with pytest.raises(DataError, match=message):
        BENCHES[bench].questions([str(write(name, content))])
