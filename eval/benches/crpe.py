"""CRPE (arXiv 2402.19474): relations between objects, each question asked four times with its options turned on.

    accuracy = questions that are right in all four turns / questions

of each category (subject, predicate, object; exist). The rule of `llava/eval/eval_crpe.py` in
github.com/OpenGVLab/all-seeing: the turns of a question follow each other in its file.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from eval.benches.files import entries, field
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, by_part, num_unread, percent, read_groups, whole_groups
from eval.uncertainty import Total, average
from training.utils.answers.letters import letter
from training.utils.data.record import DataError

TURNS = 4


def load(paths: Sequence[Path]) -> list[Question]:
    """The questions of `crpe_relation.jsonl`, `crpe_exist.jsonl` or both; `group` is the question in all its turns.

    Raises:
        DataError: a field is missing, or the turns of a category do not come in fours.
    """
    questions = []
    asked: Counter[tuple[str, str]] = Counter()
    for file, index, entry in entries(paths):
        where = f"{file}[{index}]"
        category, truth = field(entry, "category", where), field(entry, "correct_option", where)
        place = asked[file.stem, category]
        asked[file.stem, category] += 1
        name = f"{file.stem}/{field(entry, 'question_id', where)}"
        group = f"{category}/{file.stem}/{place // TURNS}"
        prompt, image = field(entry, "text", where), field(entry, "image", where)
        questions.append(Question(name, prompt, (image,), truth, group))
    for (file, category), number in asked.items():
        if number % TURNS:
            raise DataError(f"{file}: {number} questions of {category}; expected each in {TURNS} turns")
    return questions


def official(text: str) -> str:
    """The answer where it is one character and no more."""
    return text.strip() if len(text.strip()) == 1 else ""


PARSERS: dict[str, Callable[[str], str]] = {"official": official, "strict": letter}


def score(questions: Sequence[Question], answers: Answers, parser: str = "official") -> Scored:
    """Accuracy of all and of each category, over questions that were answered in all turns; unread is wrong."""
    groups, warnings = whole_groups(questions, answers, "questions")
    per_item = read_groups(groups, lambda text, _: PARSERS[parser](text), part="category")
    unread = num_unread(per_item)
    if parser == "official" and unread:
        found = sum(letter(text) != "" for item in per_item for text in item["responses"])
        if readable := found - (TURNS * len(per_item) - unread):
            warnings.append(
                f"{readable} answers give a letter in more words, which are wrong officially; "
                "--parser strict reads it"
            )
    of_kind = by_part(per_item, "category")
    parts = {kind: {"accuracy": accuracy(items), "n": len(items)} for kind, items in of_kind.items()}
    metrics = {
        "accuracy": accuracy(per_item),
        "turn_accuracy": percent(sum(sum(item["right"]) for item in per_item), TURNS * len(per_item)),
    }
    variant = f"CRPE, right in all four turns, parser: {parser}"
    return Scored(metrics, per_item, variant, parts, unread, warnings)


def accuracy(items: Sequence[dict]) -> float:
    return percent(sum(all(item["right"]) for item in items), len(items))


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample of questions."""
    return {
        "accuracy": 100 * average(total, [all(item["right"]) for item in items]),
        "turn_accuracy": 100 * average(total, [sum(item["right"]) / TURNS for item in items]),
    }
