"""ScienceQA (arXiv 2209.09513): multiple-choice questions, read and counted as LLaVA's evaluation does."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from eval.benches import choices
from eval.benches.files import entries, field, find_root, read_json
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored
from training.utils.answers import letters
from training.utils.data.record import DataError

LETTERS = "ABCDE"
INSTRUCTION = "Answer with the option's letter from the given choices directly."


def load(paths: Sequence[Path]) -> list[Question]:
    """Questions of the test split from a folder with `problems.json` and `pid_splits.json`, or from LLaVA's format:
    a file, or a folder with such a file (.json, .jsonl, .txt).

    The prompt is LLaVA's: context, question and options, and the wish for a letter.
    """
    questions = []
    for path in paths:
        if path.is_dir():
            path = find_root(path, ["problems.json"], ("data/scienceqa", "scienceqa"))
        if not (path / "problems.json").is_file():
            questions += _in_llavas_format(path)
            continue
        problems = read_json(path / "problems.json")
        for name in field(read_json(path / "pid_splits.json"), "test", str(path / "pid_splits.json")):
            if name not in problems:
                raise DataError(f"{path / 'problems.json'}: lacks the problem {name} of pid_splits.json")
            questions.append(_question(name, problems[name]))
    return questions


def _in_llavas_format(path: Path) -> list[Question]:
    """As LLaVA's `convert_sqa_to_llava.py` writes them, where the answer is the truth (`The answer is B.`), and its
    `model_vqa_science.py` adds the wish for a letter; or with a `label`, and all that is to be asked."""
    found = []
    for file, index, entry in entries([path], (".json", ".jsonl", ".txt")):
        where = f"{file}[{index}]"
        *_, last = entry.get("conversations") or [{}]
        if "label" in entry or last.get("from") != "gpt":
            found.append(choices.question(entry, where, index))
            continue
        if not (truth := official(str(last["value"]).strip())):
            raise DataError(
                f"{where}: {last['value']!r} names no letter; expected `The answer is X.` or a `label`"
            )
        question = choices.question(entry | {"label": truth}, where, index)
        found.append(replace(question, prompt=f"{question.prompt}\n{INSTRUCTION}"))
    return found


def _question(name: str, problem: dict) -> Question:
    lettered = zip(LETTERS, problem["choices"], strict=False)  # a problem has two to five of the letters
    options = " ".join(f"({letter}) {text}" for letter, text in lettered)
    context = problem["hint"].strip() or "N/A"
    asked = f"Context: {context}\nQuestion: {problem['question']}\nOptions: {options}".replace("  ", " ")
    images = (f"{name}/{problem['image']}",) if problem["image"] else ()
    kind = choices.WITH_IMAGE if images else choices.TEXT
    return Question(name, f"{asked}\n{INSTRUCTION}", images, LETTERS[problem["answer"]], kind)


def official(text: str) -> str:
    """LLaVA's reading: the answer itself, or in front of `. `, or in `The answer is X.`; else none."""
    if text in tuple(LETTERS):
        return text
    if text[:1] in tuple(LETTERS) and text[1:3] == ". ":
        return text[0]
    found = re.findall(r"The answer is ([A-Z]).", text)
    return found[0] if len(found) == 1 else ""


def strict(text: str) -> str:
    """The letter in whatever way a model writes it (letters.py), if a problem can have it."""
    found = letters.letter(text)
    return found if found in tuple(LETTERS) else ""


PARSERS: dict[str, Callable[[str], str]] = {"official": official, "strict": strict}


def score(questions: Sequence[Question], answers: Answers, parser: str = "official") -> Scored:
    """Accuracy over all questions, and over those with a picture."""
    read = {"official": "LLaVA's parser", "strict": "the letter in any wording"}[parser]
    variant = f"ScienceQA test by {read}; an answer that can't be read is wrong"
    scored = choices.score(questions, answers, PARSERS[parser], variant)
    if other := sum(bool(strict(item["response"])) and item["answer"] == "" for item in scored.per_item):
        scored.warnings.append(
            f"{other} of {scored.n} answers give a letter that LLaVA's parser does not read; --parser strict does"
        )
    of_images = scored.groups.get(choices.WITH_IMAGE)
    metrics = scored.metrics | ({"IMG_accuracy": of_images["accuracy"]} if of_images else {})
    return replace(scored, metrics=metrics)
