"""The command that scores: what it prints and writes beside the figure, and what it refuses."""

import json

import pytest

from eval.score import ScoreConfig, main, report
from tests.eval.conftest import lines
from training.utils.data.record import DataError

SCENES = [{"id": str(i), "image": f"{i}.png", "objects": ["cat"]} for i in (1, 2, 3)]


@pytest.fixture
def truth(write):
    return write("truth.json", {"objects": ["cat", "bus"], "scenes": SCENES})


def score(truth, predictions, **more) -> dict:
    output = predictions.with_suffix(".score.json")
    main(ScoreConfig("descriptions", [str(truth)], str(predictions), str(output), **more))
    return json.loads(output.read_text())


def test_missing_double_and_unknown_answers_are_told_and_not_scored(truth, write, capsys):
    given = [("1", "a cat."), ("1", "a bus."), ("9", "x")]
    result = score(truth, write("p.jsonl", lines(*({"id": i, "response": text} for i, text in given))))
    assert (result["n"], result["answered"], result["asked"]) == (1, 1, 3)
    assert result["metrics"]["Hal"] == 0
    assert result["warnings"] == [
        "2 of 3 ids without an answer: not scored",
        "1 of 3 ids answered twice: the first answer counts",
        "1 of 3 ids not among the questions: not scored",
    ]
    assert (
        "answered 1 of 3 questions (33.3 %), 1 answers, 0 that could not be read" in capsys.readouterr().out
    )


def test_answers_to_other_questions_are_told_or_refused(write):
    """Ids are places in the file where there are none, so those of two files are equal."""
    asked = ("Is there a cat?", "Is there a dog?", "Is there a bus?")
    entries = [{"problem": f"<image>\n{text}", "images": ["a.png"], "answer": "yes"} for text in asked]
    truth = write("asked.json", entries)

    def warnings(*prompts, **more):
        said = [{"id": str(i), "prompt": text, "response": "yes"} for i, text in enumerate(prompts)]
        return report(ScoreConfig("exact_match", [str(truth)], str(write("p.jsonl", lines(*said))), **more))[
            "warnings"
        ]

    with_instruction = f"{asked[1]}\nAnswer with yes or no."
    assert warnings(asked[0], with_instruction, f"<image>  {asked[2]}") == []
    told = "1 of 3 ids answered where the prompt was another than the question, as id 1"
    assert (
        warnings(asked[0], "Is it red?", asked[2])
        == warnings(asked[0], "Is it red?", asked[2], best=True)
        == [told]
    )
    with pytest.raises(
        DataError, match="id 0: answers 'Is it red[?]', and the question is '<image>.nIs there a cat[?]'"
    ):
        warnings("Is it red?", "Is it blue?", asked[0])
    assert warnings(None, "", 3) == []


def test_where_all_questions_are_in_the_same_words_others_are_told_of(truth, write):
    said = [{"id": str(i), "prompt": "What do you see?", "response": "a cat."} for i in (1, 2, 3)]
    told = "3 of 3 ids answered where the prompt was another than the question, as id 1"
    assert score(truth, write("p.jsonl", lines(*said)))["warnings"] == [told]


def test_the_figure_stands_beside_all_that_it_depends_on(truth, write, capsys):
    arguments = {
        "temperature": 0.5,
        "max_new_tokens": 7,
        "template": "llava",
        "num_return_sequences": 2,
        "x": 1,
    }
    write("p.args.json", {"arguments": arguments})
    texts = [
        {"id": str(i), "response": "a cat.", "responses": ["a cat.", "a big red bus"]} for i in (1, 2, 3)
    ]
    result = score(truth, write("p.jsonl", lines(*texts)))
    assert result["generation"] == {name: value for name, value in arguments.items() if name != "x"}
    assert result["metrics"]["words"] == (2 + 4) / 2 and result["metrics"]["Hal"] == 50
    printed = capsys.readouterr().out
    assert "temperature 0.5, max_new_tokens 7, template llava, num_return_sequences 2" in printed
    assert result["variant"] in printed and "words 3.0" in printed


def test_a_score_tells_what_it_was_made_of(truth, write):
    identity = {
        "settings": {"template": "llava", "temperature": 0},
        "inputs": {"--from_checkpoint: weights": "abc"},
    }
    record = {
        "arguments": {"template": "auto", "from_checkpoint": "models/sft", "topp": 1},
        "identity": identity,
    }
    write("p.args.json", record | {"starts": [{"versions": {"torch": "1"}}]})
    predictions = write("p.jsonl", lines(*({"id": str(i), "response": "a cat."} for i in (1, 2, 3))))
    result = score(truth, predictions)
    assert result["generation"] == {"temperature": 0, "template": "llava", "topp": 1}
    assert result["model"] == {"folder": "models/sft", "weights": "abc"}
    assert result["predictions"]["file"] == str(predictions)
    assert [part["file"] for part in result["truth"]] == [str(truth)]
    assert result["versions"]["answered"] == {"torch": "1"} and "python" in result["versions"]["scored"]
    assert result["intervals"]["Hal"] == [0, 0]
    write("p.jsonl", lines({"id": "1", "response": "a bus."}))
    again = score(truth, predictions)
    assert again["predictions"]["digest"] != result["predictions"]["digest"]
    assert again["truth"] == result["truth"]


def test_the_best_of_the_samples_can_be_scored_alone(truth, write):
    best = {"id": "1", "response": "a cat.", "responses": ["a bus.", "a cat."]}
    assert score(truth, write("p.jsonl", lines(best)), best=True)["metrics"]["Hal"] == 0


ODD = [None, 2, ["yes"], {"text": "yes"}, True]


@pytest.mark.parametrize("bench", ["pope", "multiple_choice", "exact_match", "amber", "science_qa"])
def test_a_response_that_is_no_text_is_an_empty_answer_and_counted(bench, write):
    """Six questions; one answer is right, five are nothing, which POPE reads as yes."""
    label = {"pope": "yes", "exact_match": "yes", "amber": "yes"}.get(bench, "B")
    if bench == "amber":
        kind = "discriminative-relation"
        write("t/annotations.json", [{"id": i, "type": kind, "truth": label} for i in range(6)])
        write("t/query_all.json", [{"id": i, "image": "a.png", "query": "?"} for i in range(6)])
        write("t/relation.json", {})
        truth = write("t/safe_words.txt", "").parent
    else:
        turns = [{"from": "human", "value": "?"}]
        truth = write("q.json", [{"id": str(i), "conversations": turns, "label": label} for i in range(6)])
    given = [{"id": str(i), "response": text} for i, text in enumerate([label, *ODD])]
    output = write("p.score.json", "")
    main(ScoreConfig(bench, [str(truth)], str(write("p.jsonl", lines(*given))), str(output)))
    result = json.loads(output.read_text())
    told = "5 responses are no text (null, a number, a list): each counts as an empty answer"
    assert told in result["warnings"] and result["n"] == 6 and result["parse_failures"] == 5
    assert result["metrics"]["accuracy"] == pytest.approx(100 if bench == "pope" else 16.7, abs=0.05)


def test_a_last_line_without_its_end_counts(truth, write):
    assert score(truth, write("p.jsonl", '{"id": "1", "response": "a cat."}'))["n"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "answers none of the questions"),
        ('{"id": "other", "response": "a cat."}', "answers none of the questions"),
        ('{"id": "1"}', "line 1: expected an object with `id` and `response` or `scores`"),
        ("{", "does not parse as JSON"),
    ],
)
def test_predictions_that_answer_nothing_are_an_error_not_a_perfect_score(content, message, truth, write):
    file = truth.with_name("p.jsonl")
    if content is not None:
        write("p.jsonl", content)
    with pytest.raises(DataError, match=f"^.*p.jsonl: {message}"):
        main(ScoreConfig("descriptions", [str(truth)], str(file)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bench": "poppy"}, "--bench poppy: unknown; expected one of descriptions, pope"),
        ({"truth": ["none.json"]}, "none.json: no such file"),
        ({"parser": "strict"}, "--parser: no option of descriptions, which has none"),
        ({"bench": "pope", "parser": "lax"}, "--parser lax: unknown; expected one of official, strict"),
    ],
)
def test_what_can_not_work_is_one_message(config, message, truth, write):
    file = write("p.jsonl", lines({"id": "1", "response": "a cat."}))
    given = {"bench": "descriptions", "truth": [str(truth)], "predictions": str(file)} | config
    with pytest.raises(DataError, match=f"^{message}"):
        main(ScoreConfig(**given))


def test_answers_that_count_nowhere_give_no_figure_and_are_not_taken_for_anothers(write):
    question = {"question_id": 1, "image": "a.jpg", "text": "?", "label": "yes"}
    truth = write("coco_repope_random.json", lines(question))
    given = write("p.jsonl", lines({"id": "coco_repope_random/1", "response": "hm"}))
    with pytest.raises(DataError, match="none of its 1 answers counts, so no figure: 1 answers say neither"):
        report(ScoreConfig("repope", [str(truth)], str(given)))
