"""Letters, words and ScienceQA."""

from pathlib import Path

import pytest

from eval.benches import choices, science_qa
from eval.benches.question import Question
from eval.benches.table import BENCHES
from eval.gallery import is_wrong
from tests.eval.conftest import answers
from training.utils.data.record import DataError


@pytest.mark.parametrize(
    ("text", "official", "letter"),
    [
        ("B", "B", "B"),
        ("b", "", "B"),
        ("(B)", "", "B"),
        ("B.", "", "B"),
        ("B. a red circle", "B", "B"),
        ("(B) a red circle", "", "B"),
        ("The answer is B.", "B", "B"),
        ("The answer is B", "", "B"),  # the official reading wants a character behind the letter
        ("The answer is B. No: The answer is C.", "", "C"),
        ("the answer is: (B) a red circle", "", "B"),
        ("The answer is B or C.", "B", ""),
        ("B or C", "", ""),
        ("A dog", "", ""),
        ("A, B", "", ""),
        ("F", "", "F"),  # ScienceQA has no F
        ("I do not know", "", ""),
        ("", "", ""),
    ],
)
def test_how_a_letter_is_read(text, official, letter):
    assert (science_qa.official(text), choices.letter(text)) == (official, letter)


PROBLEMS = {
    "4": {"question": "Which?", "choices": ["red", "blue"], "answer": 1, "hint": " ", "image": "image.png"},
    "5": {"question": "Who?", "choices": ["he", "she"], "answer": 0, "hint": "Look.", "image": None},
    "6": {"question": "Train?", "choices": ["x"], "answer": 0, "hint": "", "image": None},
}


def science(write):
    write("sqa/problems.json", PROBLEMS)
    return write("sqa/pid_splits.json", {"test": ["4", "5"], "train": ["6"]}).parent


def test_science_qa_asks_as_llava_does_and_counts_pictures_apart(write):
    asked = BENCHES["science_qa"].questions([str(science(write))])
    assert [(question.id, question.truth, question.images) for question in asked] == [
        ("4", "B", ("4/image.png",)),
        ("5", "A", ()),
    ]
    assert asked[0].prompt == (
        "Context: N/A\nQuestion: Which?\nOptions: (A) red (B) blue\n"
        "Answer with the option's letter from the given choices directly."
    )
    scored = science_qa.score(asked, {"4": ["C"], "5": ["A. he"]})
    assert scored.metrics == {"accuracy": 50, "IMG_accuracy": 0} and scored.parse_failures == 0
    assert science_qa.score(asked, {"5": ["he"]}).metrics == {"accuracy": 0}


def test_a_problem_that_is_not_there_is_named(write):
    folder = science(write)
    write("sqa/pid_splits.json", {"test": ["9"]})
    with pytest.raises(DataError, match="lacks the problem 9 of pid_splits.json"):
        science_qa.load([folder])


def test_science_qa_as_llava_converts_it_has_its_truth_in_the_answer(write):
    """`llava_test_CQM-A.json`: no label, and the wish for a letter comes when it is asked."""
    turns = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "The answer is B."}]
    file = write("llava_test.json", [{"id": "4", "image": "4/image.png", "conversations": turns}])
    (asked,) = science_qa.load([file.parent])
    assert (asked.truth, asked.group) == ("B", "IMG")
    assert asked.prompt == (
        "<image>\nWhich?\nAnswer with the option's letter from the given choices directly."
    )
    write("llava_test.json", [{"id": "4", "conversations": [turns[0], turns[1] | {"value": "red"}]}])
    with pytest.raises(DataError, match="'red' names no letter"):
        science_qa.load([file])


def record(name: str, label: str | None, **more) -> dict:
    turns = [
        {"from": "human", "value": "Hello"},
        {"from": "gpt", "value": "Hi"},
        {"from": "human", "value": "Why?"},
    ]
    return {"id": name, "conversations": turns, **more} | ({} if label is None else {"label": label})


def test_llavas_format_with_labels_and_earlier_turns(write):
    file = write(
        "q.txt", [record("a", "B", image="1.png"), record("b", "(C)")]
    )  # a list in spite of its name
    asked = choices.load([file])
    assert [turn.text for turn in asked[0].history] == ["Hello", "Hi"]
    assert asked[0].entry()["conversations"] == record("a", "B")["conversations"]
    scored = choices.score_letters(asked, {"a": ["b."], "b": ["A"]})
    assert scored.metrics == {"accuracy": 50}
    assert scored.groups == {"IMG": {"accuracy": 100, "n": 1}, "TXT": {"accuracy": 0, "n": 1}}
    with pytest.raises(DataError, match=r"r.json\[0\]: lacks `label`"):
        choices.load([write("r.json", [record("a", None)])])


def test_words_are_compared_without_case_space_and_the_last_mark():
    asked = [Question(str(i), "?", (), label, "TXT") for i, label in enumerate(("Red circle", "2", "no"), 1)]
    scored = choices.score_words(asked, answers(" red  CIRCLE.", "two", ""))
    assert scored.metrics["accuracy"] == pytest.approx(100 / 3)
    assert scored.parse_failures == 1


def test_a_number_is_read_as_by_the_reward_for_it():
    asked = [Question(str(i), "?", (), label, "TXT") for i, label in enumerate(("3", "1,500", "4", "2"), 1)]
    given = answers("There are 3 objects.", "<think>4?</think><answer>1500</answer>", "5", "many")
    scored = BENCHES["number"].score(asked, given)
    assert scored.metrics["accuracy"] == 50 and scored.parse_failures == 1


def test_an_unreadable_label_is_never_met_by_an_unreadable_answer():
    asked = [Question("1", "?", (), "red", "TXT")]
    scored = choices.score_letters(asked, answers("blue"))
    assert scored.metrics["accuracy"] == 0
    assert scored.warnings == ["1 labels can't be read: no answer there is right; see the file of truth"]


def table() -> dict[str, dict[str, str]]:
    """Answers and their letters, by the style that a heading (`# Gemma: ...`) of the table names."""
    styles: dict[str, dict[str, str]] = {}
    of_style: dict[str, str] = {}
    for line in Path(__file__).with_name("letters.txt").read_text().splitlines():
        right, tab, text = line.partition("\t")
        if tab:
            of_style[text.replace("⏎", "\n")] = right
        else:
            of_style = styles[line.removeprefix("# ").partition(":")[0]] = {}
    return styles


TABLE = table()


@pytest.mark.parametrize("style", TABLE)
def test_letters_of_answers_in_the_style_of_todays_models(style):
    """Answers as these models write them, and their letters, both written by hand; `-` is none, `⏎` a new line."""
    read = {text: choices.letter(text) or "-" for text in TABLE[style]}
    assert {text: found for text, found in read.items() if found != TABLE[style][text]} == {}


def test_the_table_has_two_hundred_answers_of_four_kinds_of_models():
    assert {*TABLE} == {"LLaVA", "Qwen-VL", "InternVL", "Gemma", "No letter, whoever writes it"}
    assert sum(map(len, TABLE.values())) > 200 and min(map(len, TABLE.values())) > 30


def test_science_qa_tells_of_letters_that_the_official_parser_leaves_unread():
    asked = [Question(str(number), "?", (), "B", "IMG") for number in (1, 2, 3)]
    texts = answers("**B**", "B", "a dog")
    official, strict = (science_qa.score(asked, texts, parser) for parser in ("official", "strict"))
    assert official.metrics["accuracy"] == pytest.approx(100 / 3)
    assert official.warnings == [
        "1 of 3 answers give a letter that LLaVA's parser does not read; --parser strict does"
    ]
    assert (strict.metrics["accuracy"], strict.parse_failures) == (pytest.approx(200 / 3), 1)
    assert science_qa.strict("F") == ""  # a problem has five choices at most


def test_a_picture_of_any_format_makes_a_question_one_with_a_picture(write):
    rows = [
        {"images": ["a.png"], "problem": "<image>How many?", "answer": "3"},
        {"problem": "Who?", "answer": "I"},
    ]
    asked = BENCHES["exact_match"].questions([str(write("easyr1.json", rows))])
    assert [question.group for question in asked] == ["IMG", "TXT"]


def test_a_right_answer_is_not_shown_as_wrong_although_label_and_answer_are_spelled_differently(write):
    row = {"id": "1", "image": "a.png", "conversations": [{"from": "human", "value": "<image>\nWhich?"}]}
    for bench, label, text in (
        ("multiple_choice", "B. dog", "The answer is B."),
        ("exact_match", "Dog.", "dog"),
    ):
        asked = BENCHES[bench].questions([str(write("truth.json", [row | {"label": label}]))])
        for said, wrong in ((text, False), ("C", True)):
            (item,) = BENCHES[bench].score(asked, {"1": [said]}).per_item
            assert is_wrong(item) is wrong
