"""Answers from and to the form of an official scorer.

    python -m eval.convert --reads pope --truth FILE... --input answers.json --output predictions.jsonl
    python -m eval.convert --writes amber --input predictions.jsonl --output answers.json

| form | is | an answer is found by |
|---|---|---|
| `llava` (LLaVA-Bench, ScienceQA, ...) | JSON Lines of `question_id`, `prompt`, `text` | the id |
| `pope` | JSON Lines of `question`, `answer` | its place: one file for each file of questions, in its order |
| `amber` | JSON list of `id`, `response` | the id, a number |
| `mmhal` | the official records, each with `model_answer` | the id, or the place |
| `halbench` | JSON Lines of `image_id`, `question`, `answer` | the id of the picture |

`--truth` are official files of the benchmark: they tell ids where answers have none (`pope`, `halbench`), and the
fields that an answer file repeats (`mmhal`). The other forms need none.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.benches import mmhal, pope
from eval.benches.files import entries
from eval.benches.files import field as field_of
from eval.benches.question import Question
from eval.benches.scored import responses
from eval.score import read_predictions
from training.utils.config.flags import flag
from training.utils.data.record import DataError
from training.utils.process.command import run_command


@dataclass(frozen=True)
class ConvertConfig:
    input: str = field(metadata={"help": "File of answers."})
    output: str = flag(help="File to write; one that is there stays as it is.", writes="file")
    reads: str = field(default="", metadata={"help": "The form of --input; --output are predictions."})
    writes: str = field(default="", metadata={"help": "The form of --output; --input are predictions."})
    truth: list[str] = field(default_factory=list, metadata={"help": "Official files of the benchmark."})


@dataclass(frozen=True)
class Form:
    """How an official scorer has answers.

    Args:
        read: id and answer of an entry at its place.
        write: an entry, of a question (None without --truth), a prediction and its answer.
        load: the questions of --truth, where that is needed.
    """

    read: Callable[[dict, int, Sequence[Question]], tuple[str, Any]]
    write: Callable[[Question | None, dict, str], dict]
    load: Callable[[Sequence[Path]], list[Question]] | None = None
    is_list: bool = False  # else JSON Lines


def _place(entry: dict, place: int, questions: Sequence[Question]) -> tuple[str, Any]:
    question = questions[place]
    asked = str(entry.get("question", question.prompt))
    if not asked.startswith(question.prompt):  # a model's own wish for yes or no may follow
        raise DataError(
            f"answer {place} is to {asked!r}, and the question there is {question.prompt!r}; expected the "
            "questions in their order"
        )
    return question.id, entry["answer"]


def _pictures(paths: Sequence[Path]) -> list[Question]:
    """Object HalBench's questions, without COCO's annotations: `truth` is the number of the picture."""
    questions = []
    for file, place, entry in entries(paths):
        number = _image_id(field_of(entry, "image_id", f"{file}[{place}]"), place)
        asked = entry.get("question", entry.get("prompt", ""))
        questions.append(Question(str(entry.get("question_id", number)), asked, (), number))
    return questions


def _image_id(given: Any, place: int) -> int:
    try:
        return int(given)
    except (TypeError, ValueError):
        raise DataError(
            f"entry {place}: image_id {given!r} is no number; expected that of a picture"
        ) from None


def _of_picture(entry: dict, place: int, questions: Sequence[Question]) -> tuple[str, Any]:
    number = _image_id(entry["image_id"], place)
    names = [question.id for question in questions if question.truth == number]
    if len(names) != 1:
        raise DataError(
            f"answer {place}: image_id {number} has {len(names)} questions in --truth; expected one"
        )
    return names[0], entry["answer"]


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


FORMS = {
    "llava": Form(
        lambda entry, *_: (str(entry["question_id"]), entry["text"]),
        lambda _, line, text: {
            "question_id": _number(str(line["id"])),
            "prompt": line.get("prompt", ""),
            "text": text,
        },
    ),
    "pope": Form(
        _place, lambda question, _, text: {"question": question.prompt, "answer": text}, load=pope.load
    ),
    "amber": Form(
        lambda entry, *_: (str(entry["id"]), entry["response"]),
        lambda _, line, text: {"id": _number(str(line["id"])), "response": text},
        is_list=True,
    ),
    "mmhal": Form(
        lambda entry, place, _: (str(entry.get("id", place)), entry["model_answer"]),
        lambda question, _, text: question.truth | {"model_answer": text},
        mmhal.load,
        is_list=True,
    ),
    "halbench": Form(
        _of_picture,
        lambda question, _, text: {"image_id": question.truth, "question": question.prompt, "answer": text},
        _pictures,
    ),
}


def to_predictions(
    form: Form, answers: Sequence[tuple[str, dict]], questions: Sequence[Question]
) -> list[dict]:
    """Predictions from official answers.

    Raises:
        DataError: an answer lacks a field, or is to another question, or there are not as many as questions where
            their places count.
    """
    if form.read is _place and len(answers) != len(questions):
        raise DataError(
            f"{len(answers)} answers to {len(questions)} questions; expected one to each, in their order"
        )
    prompts = {question.id: question.prompt for question in questions}
    predictions = []
    for place, (where, entry) in enumerate(answers):
        try:
            name, text = form.read(entry, place, questions)
        except KeyError as error:
            field_of(entry, error.args[0], where)
            raise
        line = {"id": name, "response": text}
        predictions.append(line | ({"prompt": prompts[name]} if name in prompts else {}))
    return predictions


def to_answers(form: Form, predictions: Sequence[dict], questions: Sequence[Question]) -> list[dict]:
    """Official answers from predictions, in the order of the questions where those are given.

    Raises:
        DataError: a question has no answer, or an answer has several samples.
    """
    by_id = {str(line["id"]): line for line in predictions}
    for question in questions:
        if question.id not in by_id:
            raise DataError(f"question {question.id} has no answer; the official scorer expects all")
    pairs = [(question, by_id[question.id]) for question in questions] or [
        (None, line) for line in predictions
    ]
    answers = []
    for question, line in pairs:
        texts = responses(line)
        if len(texts) > 1:
            raise DataError(f"id {line['id']}: {len(texts)} samples; expected one answer to each question")
        answers.append(form.write(question, line, texts[0] or ""))
    return answers


def convert(config: ConvertConfig) -> list[dict]:
    """What is to be written."""
    if bool(config.reads) == bool(config.writes):
        raise DataError("expected either --reads FORM or --writes FORM")
    name = config.reads or config.writes
    if name not in FORMS:
        raise DataError(f"{name}: unknown form; expected one of {', '.join(FORMS)}")
    form = FORMS[name]
    if form.load and not config.truth:
        raise DataError(f"--truth: missing; the form {name} needs the official files of its benchmark")
    questions = form.load([Path(path) for path in config.truth]) if form.load else []
    if config.writes:
        return to_answers(form, read_predictions(config.input, best=False), questions)
    found = entries([Path(config.input)])
    return to_predictions(form, [(f"{file}[{place}]", entry) for file, place, entry in found], questions)


def main(config: ConvertConfig) -> None:
    if Path(config.output).exists():
        raise DataError(f"--output {config.output}: is there already; choose another, or remove it")
    lines = convert(config)
    as_list = config.writes and FORMS[config.writes].is_list
    text = (
        json.dumps(lines, indent=1) + "\n" if as_list else "".join(json.dumps(line) + "\n" for line in lines)
    )
    Path(config.output).parent.mkdir(parents=True, exist_ok=True)
    Path(config.output).write_text(text)
    print(f"{len(lines)} answers: {config.output}")


if __name__ == "__main__":
    run_command(main, ConvertConfig)
