"""RefoMB (arXiv 2405.17220): a judge compares the answer with GPT-4V's, by a description of the picture.

    score = 100 * (wins + ties / 2) / verdicts

GPT-4V's answer is shown first, as `eval/eval_RefoMB_p0.py` of github.com/RLHF-V/RLAIF-V does with its defaults. A
second judgement, of what the first reply says of hallucinations, gives `trust` by the same rule
(`eval/eval_hallucination.py`). The two prompts are the benchmark's, and not part of this project: take the texts into
files of your own, with `{}` for each value.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.benches.files import entries, field
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, by_part, pairs, percent
from eval.uncertainty import Total, share
from training.utils.chat.client import Ask, Reply, replies
from training.utils.chat.messages import Messages, Shown, fill, nothing, told
from training.utils.data.record import DataError

POINTS = {"A": 0.0, "B": 1.0, "C": 0.5}  # of the model, which is shown second
VARIANT = "against GPT-4V's answers, which are shown first; a judge that reads a description of the picture"


def load(paths: Sequence[Path]) -> list[Question]:
    """The questions of `gpt4v_RefoMB_dev_0521.jsonl`. Of a folder, records without a reference answer are left out.

    Raises:
        DataError: a field is missing, or no record has a reference answer.
    """
    questions = []
    for file, index, record in entries(paths):
        where = f"{file}[{index}]"
        if not field(record, "answer", where):
            continue  # the file of questions, which lies beside it
        image = field(record, "image_url", where).rsplit("/", 1)[-1]
        truth = {"description": field(record, "description", where), "reference": record["answer"]}
        name = str(record.get("id", index))
        questions.append(Question(name, field(record, "question", where), (image,), truth, record["type"]))
    if not questions:
        raise DataError(f"{paths[0]}: no record has an `answer`; expected the file of GPT-4V's answers")
    return questions


def to_messages(
    question: Question, response: str, template: str, system: str = "", pictures: Sequence[dict] = ()
) -> Messages:
    """Fills the four `{}` of the prompt: description, question, GPT-4V's answer, the model's."""
    truth = question.truth
    values = [truth["description"], question.prompt, truth["reference"], response]
    return told(fill(template, values, "--judge_prompt", "RefoMB's"), pictures, system)


def parse(reply: str) -> float | None:
    """Points of the model by the first verdict [[A]], [[B]] or [[C]]; none if there is none."""
    found = re.search(r"\[\[([ABC])\]\]", reply)
    return POINTS[found[1]] if found else None


def score(
    questions: Sequence[Question],
    answers: Answers,
    template: str,
    ask: Ask,
    system: str = "",
    trust_template: str = "",
    shown: Shown = nothing,
) -> Scored:
    """Rates in percent, and the score of each type of question. A reply without a verdict is dropped, and counted.

    Args:
        trust_template: the second prompt, with one `{}` for the first reply; none: no `trust`.
    """
    asked = list(pairs(questions, answers))
    said = replies(ask, [to_messages(q, text, template, system, shown(q.id)) for q, text in asked])
    per_item = [
        {"id": question.id, "type": question.group, "response": text}
        | reply.fields()
        | _points(reply, "points")
        for (question, text), reply in zip(asked, said, strict=True)
    ]
    judged = [item for item in per_item if "points" in item]
    if trust_template:
        flag = "--judge_trust_prompt"
        again = [told(fill(trust_template, [item["reply"]], flag, "RefoMB's")) for item in judged]
        for item, reply in zip(judged, replies(ask, again), strict=True):
            item |= {"trust_reply": reply.text} | _points(reply, "trust")
    dropped = len(per_item) - len(judged)
    warnings = [f"{dropped} of {len(per_item)} replies hold no verdict: dropped"] * bool(dropped)
    untrusted = len(judged) - sum("trust" in item for item in judged) if trust_template else 0
    if untrusted:
        warnings.append(f"{untrusted} of {len(judged)} replies on hallucinations hold no verdict: dropped")
    groups = {kind: figures(items) for kind, items in by_part(judged, "type").items()}
    return Scored(figures(judged) if judged else {}, per_item, VARIANT, groups, dropped, warnings)


def _points(reply: Reply, name: str) -> dict[str, float]:
    points = parse(reply.text)
    return {} if points is None else {name: points}


def figures(items: Sequence[dict]) -> dict[str, float]:
    """Of items that were judged."""
    points = [item["points"] for item in items]
    found = {"score": percent(sum(points), len(points))}
    found |= {
        name: percent(points.count(worth), len(points))
        for name, worth in (("wins", 1.0), ("ties", 0.5), ("losses", 0.0))
    }
    trust = [item["trust"] for item in items if "trust" in item]
    return found | ({"trust": percent(sum(trust), len(trust))} if trust else {})


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample."""
    found = {}
    for figure, name in (("score", "points"), ("trust", "trust")):
        known = np.array([name in item for item in items])
        if known.any():
            found[figure] = share(total, [item.get(name, 0.0) for item in items], known)
    judged = [float("points" in item) for item in items]
    for figure, worth in (("wins", 1.0), ("ties", 0.5), ("losses", 0.0)):
        found[figure] = share(total, [item.get("points") == worth for item in items], judged)
    return found
