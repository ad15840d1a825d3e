"""RefoMB, worked by hand."""

import numpy as np
import pytest

from eval.benches import refomb
from eval.benches.table import BENCHES
from tests.eval.conftest import lines
from training.utils.data.record import DataError

REFOMB = [
    {
        "image_url": f"https://host/{name}.png",
        "question": f"Question {number}?",
        "description": "A cat {} on a mat.",
        "type": ("OCR", "Coarse Perception")[number % 2],
        "split": "dev",
        "id": str(number),
        "answer": "It is a cat.",
    }
    for number, name in enumerate("abcd")
]
VERDICTS = {"won": "Well. [[B]]", "lost": "[[A]], not [[B]]", "even": "[[C]]", "mute": "Both are fine."}


def says(messages):
    text = messages[-1]["content"]
    return next(reply for name, reply in VERDICTS.items() if text.endswith(f"<{name}>"))


def refomb_scored(write, trust=""):
    write("r/RefoMB_dev.jsonl", lines(*(record | {"answer": ""} for record in REFOMB)))
    folder = write("r/gpt4v_RefoMB_dev_0521.jsonl", lines(*REFOMB)).parent
    bench = BENCHES["refomb"]
    asked = bench.questions([str(folder)])
    answers = {q.id: [f"<{name}>"] for q, name in zip(asked, VERDICTS, strict=True)}

    def ask(messages):
        if messages[-1]["content"].startswith("review "):
            return "[[B]]" if "Well" in messages[-1]["content"] else "[[C]]"
        return says(messages)

    return asked, bench.score(asked, answers, "{}|{}|{}|{}", ask, "be just", trust)


def test_refomb_worked_by_hand(write):
    """Won, lost and even are 1.5 of 3; of hallucinations fewer once, and twice as many as GPT-4V: 2 of 3."""
    asked, scored = refomb_scored(write, "review {}")
    assert [question.images for question in asked] == [("a.png",), ("b.png",), ("c.png",), ("d.png",)]
    figures = {"score": 50, "wins": 100 / 3, "ties": 100 / 3, "losses": 100 / 3, "trust": 200 / 3}
    assert scored.metrics == pytest.approx(figures)
    assert scored.groups["OCR"]["score"] == 75 and scored.groups["Coarse Perception"]["score"] == 0
    assert scored.parse_failures == 1
    assert scored.warnings == ["1 of 4 replies hold no verdict: dropped"]
    total = lambda values: np.array([np.sum(values, dtype=float)])  # noqa: E731
    again = BENCHES["refomb"].rates(scored.per_item, total)
    assert {name: again[name][0] for name in figures} == pytest.approx(figures)
    assert "trust" not in refomb_scored(write)[1].metrics


def test_refomb_shows_gpt_4v_first_and_braces_are_text(write):
    asked, _ = refomb_scored(write)
    system, message = refomb.to_messages(asked[0], "ours {}", "D {} Q {} A {} B {}", "be just")
    assert system == {"role": "system", "content": "be just"}
    assert message["content"] == "D A cat {} on a mat. Q Question 0? A It is a cat. B ours {}"
    with pytest.raises(DataError, match="--judge_prompt: 1 places {}; expected 4, as in RefoMB's prompt"):
        refomb.to_messages(asked[0], "", "{}")
    questions = write("q/RefoMB_dev.jsonl", lines(REFOMB[0] | {"answer": ""}))
    with pytest.raises(DataError, match="no record has an `answer`"):
        BENCHES["refomb"].questions([str(questions)])
