"""RePOPE, DASH-B, NaturalBench and tables of multiple choice: questions as they are asked, figures worked by hand."""

import base64
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.benches import choice_table, dash_b, natural_bench
from eval.benches.table import BENCHES
from tests.conftest import picture
from tests.eval.conftest import lines
from training.utils.data.record import DataError


def png(number: int = 0) -> bytes:
    content = io.BytesIO()
    picture(number).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Yes.", "yes"),
        ("NO", "no"),
        ("There is not", "no"),
        ("no, or yes", "yes"),
        ("eyes", "yes"),
        ("hm", "unknown"),
    ],
)
def test_how_dash_b_reads(text, read):
    assert dash_b.official(text) == read


def test_dash_b_of_its_repository_worked_by_hand(write):
    """Right: 1 of 2 without the object, 2 of 2 with it. 2 * 50 * 100 / 150 = 66.7."""
    write("images/dash_benchmark_neg.json", {"coco": {"kite": ["1.png", "2.png"]}})
    write("images/dash_benchmark_pos.json", {"coco": {"kite": ["1.jpg"]}, "objects365": {"oar": ["1.jpg"]}})
    asked = BENCHES["dash_b"].questions([str(write("images/readme.json", "{}").parent.parent)])
    assert [(question.id, question.truth) for question in asked] == [
        ("neg/coco/kite/1.png", "no"),
        ("neg/coco/kite/2.png", "no"),
        ("pos/coco/kite/1.jpg", "yes"),
        ("pos/objects365/oar/1.jpg", "yes"),
    ]
    assert asked[0].prompt == "Can you see a kite in this image? Please answer only with yes or no."
    texts = dict(zip([question.id for question in asked], [["no"], ["hm"], ["yes"], ["Yes!"]], strict=True))
    scored = dash_b.score(asked, texts)
    assert scored.metrics == pytest.approx({"harmonic_mean": 200 / 3, "accuracy": 75, "TPR": 100, "TNR": 50})
    assert scored.parse_failures == 1


def test_dash_b_of_parquet(tmp_path):
    row = {
        "question_id": 7,
        "image": {"bytes": png(), "path": None},
        "question": "?",
        "answer": "no",
        "object": "kite",
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "test-0.parquet")
    (question,) = BENCHES["dash_b"].questions([str(tmp_path)])
    assert (question.id, question.images, question.truth, question.group) == ("7", (png(),), "no", "kite")


def test_repope_and_pope_in_one_folder_are_told_apart_and_unread_answers_count_nowhere(write):
    """Of yes, no and an answer without either to truths yes, no, no: all that counts is right."""
    labels = ["yes", "no", "no"]
    asked = [
        {"question_id": n, "image": "a.jpg", "text": "?", "label": label} for n, label in enumerate(labels)
    ]
    write("annotations/coco_pope_random.json", lines(*asked[:2]))
    folder = str(write("annotations/coco_repope_random.json", lines(*asked)).parent)
    assert [question.group for question in BENCHES["pope"].questions([folder])] == ["coco_pope_random"] * 2
    questions = BENCHES["repope"].questions([folder])
    assert [question.group for question in questions] == ["coco_repope_random"] * 3
    texts = {
        question.id: [text] for question, text in zip(questions, ["Yes", "It is not", "hm"], strict=True)
    }
    scored = dash_b.score_repope(questions, texts)
    assert (scored.n, scored.parse_failures, scored.metrics["accuracy"]) == (2, 1, 100)
    assert scored.per_item[1]["response"] == "It is not"
    assert scored.warnings == ["1 answers say neither yes nor no: they count nowhere"]


def natural(kind, right, index=0):
    row = {"Index": index, "Question_0": "Left? ", "Question_1": "Right? ", "Question Type": kind}
    for image in (0, 1):
        row[f"Image_{image}"] = {"bytes": png(image), "path": None}
        for question in (0, 1):
            row[f"Image_{image}_Question_{question}"] = right[(image + question) % 2]
    return row


def test_natural_bench_worked_by_hand(tmp_path):
    """Answers are of q0-i0, q0-i1, q1-i0, q1-i1. The first group is right; in the second the first answer alone is
    wrong, so question 1 and picture 1 stay right."""
    rows = [natural("yes_no", ("Yes", "No"), 3), natural("multiple_choice", ("A", "B"), 4)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test-0.parquet")
    asked = BENCHES["natural_bench"].questions([str(tmp_path)])
    assert [question.id for question in asked[:4]] == ["3-q0-i0", "3-q0-i1", "3-q1-i0", "3-q1-i1"]
    assert asked[1].prompt == "Left? Please answer Yes or No." and asked[1].images == (png(1),)
    assert asked[4].prompt == "Left? Please output the letter corresponding to the correct option."
    said = ["yes", "No.", "no, not yes", "Yes", "b", "B", "(B)", "A"]
    answers = {question.id: [text] for question, text in zip(asked, said, strict=True)}
    scored = natural_bench.score(asked, answers)
    assert scored.metrics == {
        "G_Acc": 50,
        "Q_Acc": 75,
        "I_Acc": 75,
        "Acc": 87.5,
    }
    with pytest.raises(DataError, match="4: its questions have 1 to 2 samples; expected as many of each"):
        natural_bench.score(asked, answers | {"4-q1-i1": ["A", "A"]})
    del answers["4-q1-i1"]
    scored = natural_bench.score(asked, answers)
    assert scored.n == 1 and scored.warnings == ["1 groups were answered in part: not scored"]


def test_a_table_of_multiple_choice(write):
    content = base64.b64encode(png()).decode()
    columns = ["index", "hint", "question", "A", "B", "C", "answer", "category", "image"]
    rows = [["1", "Look.", "Which?", "cat", "dog", "", "B", "animals", content]]
    rows += [["2", "", "How many?", "1", "2", "3", "C", "counting", "1"]]
    file = write("mmstar.tsv", "\n".join("\t".join(row) for row in [columns, *rows]) + "\n")
    first, second = asked = BENCHES["choice_table"].questions([str(file.parent)])
    assert first.prompt == (
        "Hint: Look.\nQuestion: Which?\nOptions:\nA. cat\nB. dog\n"
        "Please select the correct answer from the options above."
    )
    assert (first.truth, second.truth) == ("B", "C") and first.images == second.images == (png(),)
    scored = choice_table.score(asked, {"1": ["**B. dog**"], "2": ["A"]})
    assert scored.metrics == {"accuracy": 50}
    assert scored.groups == {"animals": {"accuracy": 100, "n": 1}, "counting": {"accuracy": 0, "n": 1}}


@pytest.mark.parametrize(
    ("answer", "image", "message"),
    [
        ("C", None, "answer 'C' is none of its 2 options"),
        ("A", "9", "neither a picture in base64 nor the index"),
    ],
)
def test_a_table_that_can_not_be_asked_is_told(answer, image, message, write):
    image = image or base64.b64encode(png()).decode()
    text = f"index\tquestion\tA\tB\tanswer\timage\n1\t?\tx\ty\t{answer}\t{image}\n"
    with pytest.raises(DataError, match=message):
        choice_table.load([write("t.tsv", text)])
